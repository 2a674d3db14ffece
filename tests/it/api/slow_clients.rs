//! Slow connections.

use std::time::{Duration, Instant};

use testkit::{Node, NodeBuilder, RawConnection};

use super::exchange::{assert_status, raw_status, unlimited};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str =
    "POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";

/// The pause between two bytes. It is shorter than any timeout, so a timeout that begins anew with every byte is not
/// enough.
const PACE: Duration = Duration::from_millis(100);

/// The time for a node whose limit is one second to end a connection.
const BOUND: Duration = Duration::from_secs(8);

/// The earliest end of an idle connection: the clock by which actix ends them is up to half a second slow.
const EARLIEST: Duration = Duration::from_millis(300);

/// More bytes than fit into the bound at that pace.
const ENDLESS: [u8; 200] = [b'a'; 200];

fn impatient() -> NodeBuilder {
    unlimited().set("http.request_timeout", "1s")
}

async fn open(node: &Node) -> RawConnection {
    RawConnection::open(node.address()).await
}

/// A complete request and its answer.
async fn get(connection: &mut RawConnection) {
    assert!(connection.send(GET.as_bytes()).await, "closed already");
    let answer = connection.receive(BOUND).await.expect("closed unanswered");
    assert_eq!(raw_status(&answer), 200, "{answer}");
}

async fn assert_cut_off_while_dribbling(connection: &mut RawConnection, what: &str) {
    let started = Instant::now();
    let sent = connection.dribble(&ENDLESS, PACE).await;
    assert!(sent.is_some(), "{what}: never cut off");
    assert!(
        started.elapsed() < BOUND,
        "{what}: cut off after {:?}",
        started.elapsed()
    );
}

/// The node closes the connection while the client is silent, between `earliest` and the bound. Returns what it sent
/// before.
async fn closed(connection: &mut RawConnection, earliest: Duration, what: &str) -> String {
    let started = Instant::now();
    let mut said = String::new();
    while let Some(part) = connection.receive(BOUND).await {
        assert!(
            !part.is_empty() && started.elapsed() < BOUND,
            "{what}: not closed"
        );
        said += &part;
    }
    let after = started.elapsed();
    assert!(
        (earliest..BOUND).contains(&after),
        "{what}: closed after {after:?}"
    );
    said
}

#[tokio::test]
async fn a_dribbled_body_is_cut_off() {
    let node = impatient().start().await;
    for framing in [
        "Content-Length: 10000\r\n\r\nurl=",
        "Transfer-Encoding: chunked\r\n\r\n2710\r\nurl=",
    ] {
        let mut connection = open(&node).await;
        assert!(connection.send(format!("{POST}{framing}").as_bytes()).await);
        assert_cut_off_while_dribbling(&mut connection, framing).await;
    }
    // With a reason, if the client can still read one.
    let status = ["route=\"shorten\"", "status=\"408\""];
    assert_eq!(node.metric("shunt_http_requests_total", &status).await, 2.0);
}

#[tokio::test]
async fn dribbled_headers_are_cut_off_on_a_fresh_connection() {
    let node = impatient().start().await;
    for start in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut connection = open(&node).await;
        assert!(connection.send(start.as_bytes()).await);
        assert_cut_off_while_dribbling(&mut connection, start).await;
    }
}

#[tokio::test]
async fn dribbled_headers_are_cut_off_on_a_kept_alive_connection_too() {
    let node = impatient().start().await;
    let mut connection = open(&node).await;
    get(&mut connection).await;
    get(&mut connection).await;
    assert!(
        connection
            .send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            .await
    );
    assert_cut_off_while_dribbling(&mut connection, "the third request").await;
}

#[tokio::test]
async fn a_dribbled_body_is_cut_off_on_a_kept_alive_connection_too() {
    let node = impatient().start().await;
    let mut connection = open(&node).await;
    get(&mut connection).await;
    assert!(
        connection
            .send(format!("{POST}Content-Length: 10000\r\n\r\nurl=").as_bytes())
            .await
    );
    assert_cut_off_while_dribbling(&mut connection, "the second request").await;
}

#[tokio::test]
async fn what_never_ends_behind_an_answer_does_not_hold_the_connection() {
    let node = impatient().set("http.keep_alive", "1s").start().await;
    let half_a_request = format!("{GET}GET / HTTP/1.1\r\nHost:");
    let half_a_body =
        "POST /a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nurl=\r\n";
    for (bytes, status) in [(&*half_a_request, 200), (half_a_body, 404)] {
        let mut connection = open(&node).await;
        assert!(connection.send(bytes.as_bytes()).await);
        let said = closed(&mut connection, EARLIEST, bytes).await;
        assert_eq!(raw_status(&said), status, "{said}");
    }
}

/// The answer says `connection: close`, and a client that waits for the end does not wait for the keep-alive.
#[tokio::test]
async fn an_error_that_ends_the_connection_really_ends_it() {
    let node = impatient().set("http.keep_alive", "1m").start().await;
    let too_large = format!("9000\r\n{}\r\n", "a".repeat(0x9000));
    for (status, rest) in [
        (408, "Content-Length: 1000\r\n\r\nurl="),
        (413, "Content-Length: 100000\r\n\r\nurl="),
        (408, "Transfer-Encoding: chunked\r\n\r\n4\r\nurl=\r\n"),
        (
            413,
            &format!("Transfer-Encoding: chunked\r\n\r\n{too_large}"),
        ),
    ] {
        let mut connection = open(&node).await;
        assert!(connection.send(format!("{POST}{rest}").as_bytes()).await);
        let what = format!("{status} after {rest:.40?}");
        let said = closed(&mut connection, Duration::ZERO, &what).await;
        assert_eq!(raw_status(&said), status, "{what}: {said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let node = impatient().set("http.keep_alive", "1s").start().await;
    let mut silent = open(&node).await;
    closed(&mut silent, EARLIEST, "from the start").await;
    let mut idle = open(&node).await;
    get(&mut idle).await;
    let said = closed(&mut idle, EARLIEST, "after a request").await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_kept_alive_connection_outlives_the_time_for_a_request() {
    let node = impatient().set("http.keep_alive", "1m").start().await;
    let mut connection = open(&node).await;
    for _ in 0..2 {
        get(&mut connection).await;
        let said = connection.receive(Duration::from_millis(1_600)).await;
        assert_eq!(said.as_deref(), Some(""), "closed, or something unasked");
    }
    get(&mut connection).await;
}

#[tokio::test]
async fn a_client_that_is_faster_than_the_limit_is_served() {
    let node = unlimited()
        .set("http.request_timeout", "400ms")
        .start()
        .await;
    for number in 0..30 {
        let mut connection = open(&node).await;
        // The delay of packets from a distant client.
        let said = connection.receive(Duration::from_millis(50)).await;
        assert_eq!(said.as_deref(), Some(""), "connection {number}");
        get(&mut connection).await;
    }
}

#[tokio::test]
async fn slow_clients_do_not_hold_up_the_others() {
    let node = unlimited().set("http.workers", "1").start().await;
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut connection = open(&node).await;
        let start = match number % 3 {
            0 => GET[..GET.len() - 2].to_owned(),
            1 => format!("{POST}Content-Length: 1000\r\n\r\nurl="),
            _ => format!("{GET}GET / HT"),
        };
        assert!(connection.send(start.as_bytes()).await);
        slow.push(connection);
    }
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    for _ in 0..20 {
        let answer = client.get(&format!("/{code}")).await;
        assert_status(&answer, 302, "among slow clients");
        assert!(answer.took < Duration::from_secs(1), "{:?}", answer.took);
    }
    // The slow connections were open all the time.
    for (number, connection) in slow.iter_mut().enumerate() {
        let said = connection.receive(Duration::from_millis(1)).await;
        assert!(said.is_some(), "connection {number} was closed");
    }
}
