//! Clients that send without reading, or that make a node keep more than it should.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use testkit::{Node, NodeBuilder, RawConnection, eventually, within};

use super::exchange::{assert_status, post_form, raw_status, send, unlimited};

const PAGE: &str = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";

/// How many connections hostile clients open.
const CONNECTIONS: usize = 100;

/// How much memory these may cost, in MiB. Without a bound they cost hundreds.
const MEMORY: f64 = 64.0;

/// The time for a node whose limit is two seconds to end them.
const BOUND: Duration = Duration::from_secs(30);

fn node() -> NodeBuilder {
    unlimited()
        .set("limiter.quota", "1000000/minute")
        .set("http.request_timeout", "2s")
}

async fn open(node: &Node) -> RawConnection {
    RawConnection::open(node.address()).await
}

/// The most memory that the program has had since its start, in MiB.
fn peak(node: &Node) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a number").parse::<f64>().expect("a number") / 1024.0
}

/// Every connection sends `flood` again and again and reads nothing, until the node has ended all of them. Returns by
/// how many MiB the node has grown.
async fn flooded(node: &Node, connections: usize, flood: &[u8]) -> f64 {
    let client = node.client();
    assert_status(&client.get("/").await, 200, "beforehand");
    let before = peak(node);
    let count = connections;
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = RawConnection::open_narrow(node.address()).await;
        // All write at once, because the node ends a silent connection.
        connection.stuff(flood);
        connections.push(connection);
    }
    within(BOUND, "the node ends every connection", async || {
        connections.retain_mut(|connection| connection.stuff(flood));
        let answer = client.get("/").await;
        assert_status(&answer, 200, "meanwhile");
        connections.is_empty().then_some(())
    })
    .await;
    eventually("the node has let go of them", async || {
        let open = node.metric("shunt_http_connections", &[]).await;
        // The client's own memory.
        (open <= 1.0).then_some(())
    })
    .await;
    peak(node) - before
}

#[tokio::test]
async fn clients_that_pipeline_and_never_read_cost_little_and_are_ended() {
    let node = node().start().await;
    let grown = flooded(&node, CONNECTIONS, PAGE.repeat(1000).as_bytes()).await;
    assert!(grown < MEMORY, "{grown} MiB");
    let metrics = node.probe().get("/metrics").await.body;
    let about_connections = |line: &&str| line.starts_with("shunt_http_");
    let metrics: String = metrics
        .split_inclusive('\n')
        .filter(about_connections)
        .collect();
    let ended =
        format!("shunt_http_connections_ended_total{{reason=\"unread_answers\"}} {CONNECTIONS}\n");
    assert!(metrics.contains(&ended), "{metrics}");
}

/// The shortest requests, and those with the most to parse in the fewest bytes.
#[tokio::test]
async fn many_small_requests_at_once_cost_little() {
    let headers: String = (0..90).map(|n| format!("{n}:\n")).collect();
    for request in [
        "GET /x HTTP/1.1\nHost:a\n\n".to_owned(),
        format!("GET /x HTTP/1.1\nHost:a\n{headers}\n"),
    ] {
        let node = node().start().await;
        let grown = flooded(&node, CONNECTIONS / 4, request.repeat(1000).as_bytes()).await;
        assert!(grown < MEMORY, "{grown} MiB by {request:.30?}");
    }
}

#[tokio::test]
async fn a_body_in_the_smallest_chunks_costs_little() {
    let chunks = "1\r\na\r\n".repeat(40_000);
    // The second is answered unread, and the rest of its body is skipped.
    for path in ["/shorten", "/a/b"] {
        // From a proxy, because the bound for a single client does not apply to it.
        let node = node()
            .set("http.request_timeout", "1m")
            .set("http.trusted_proxies", "127.0.0.1/32")
            .start()
            .await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let flood = format!("{head}{chunks}");
        let before = peak(&node);
        let connections = (0..CONNECTIONS).map(async |_| {
            let (mut reading, mut writing) = open(&node).await.split();
            let (answer, _) = join(reading.receive(BOUND), writing.send(flood.as_bytes())).await;
            let answer = answer.expect("an answer");
            assert!([404, 413].contains(&raw_status(&answer)), "{answer}");
        });
        join_all(connections).await;
        let grown = peak(&node) - before;
        assert!(grown < MEMORY, "{grown} MiB at {path}");
    }
}

/// A request that is larger than usual, from another address than the hostile clients'.
async fn assert_large_request_is_served(node: &Node) {
    let url = format!("https://example.com/{}", "a".repeat(5_000));
    let padding = "b".repeat(10_000);
    let client = node.client_at([127, 0, 0, 7]);
    let request = post_form(&client, &[("url", &url)]).header("cookie", padding);
    assert_status(&send(request).await, 200, "a large request");
}

async fn ended_for_memory(node: &Node) -> f64 {
    let reason = ["reason=\"memory\""];
    node.metric("shunt_http_connections_ended_total", &reason)
        .await
}

#[tokio::test]
async fn connections_whose_answers_are_stuck_take_no_room_from_requests() {
    // The connections of a proxy get all the room; those of a client get its part.
    for proxies in ["127.0.0.1/32", "192.0.2.1/32"] {
        let node = node()
            .set("http.request_timeout", "5m")
            .set("http.trusted_proxies", proxies)
            .start()
            .await;
        let requests = PAGE.repeat(24);
        let mut connections = Vec::new();
        for _ in 0..1_100 {
            let mut connection = RawConnection::open_narrow(node.address()).await;
            connection.send(requests.as_bytes()).await;
            connections.push(connection);
        }
        eventually("there is no room for all of them", async || {
            (ended_for_memory(&node).await > 50.0).then_some(())
        })
        .await;
        assert_large_request_is_served(&node).await;
    }
}

#[tokio::test]
async fn a_client_s_large_requests_take_no_room_from_others_and_are_turned_away_in_order() {
    let node = node().set("http.request_timeout", "5m").start().await;
    let half_a_head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}",
        format!("X-Long: {}\r\n", "a".repeat(4_000)).repeat(30)
    );
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut connection = open(&node).await;
        connection.send(half_a_head.as_bytes()).await;
        connections.push(connection);
    }
    eventually("there is no room for all of them", async || {
        (ended_for_memory(&node).await > 50.0).then_some(())
    })
    .await;
    assert_large_request_is_served(&node).await;
    let mut next = open(&node).await;
    next.send(half_a_head.as_bytes()).await;
    let answer = next.receive(BOUND).await.expect("an answer");
    assert_eq!(raw_status(&answer), 503, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(next.receive(BOUND).await, None, "it ends");
}

/// All connections together have one bound, so their number does not matter.
#[tokio::test]
async fn unfinished_heads_have_one_bound_for_all_connections() {
    // From a proxy, because the bound for a single client does not apply to it.
    let node = node()
        .set("http.request_timeout", "5m")
        .set("http.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let half_a_head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}",
        format!("X-Long: {}\r\n", "a".repeat(4_000)).repeat(30)
    );
    let before = peak(&node);
    let mut connections = Vec::new();
    for _ in 0..1_000 {
        connections.push(open(&node).await);
    }
    for connection in &mut connections {
        connection.send(half_a_head.as_bytes()).await;
    }
    eventually("there is no room for all of them", async || {
        (ended_for_memory(&node).await > 100.0).then_some(())
    })
    .await;
    assert_status(&node.client().get("/").await, 200, "meanwhile");
    // The bound is 32 MiB, and 1000 connections cost something by themselves.
    let grown = peak(&node) - before;
    assert!(grown < 2.0 * MEMORY, "{grown} MiB");
    drop(connections);
    // Their memory is free again.
    let mut connection = open(&node).await;
    eventually("there is room again", async || {
        let mut next = open(&node).await;
        let whole = format!("{half_a_head}\r\n");
        let sent = next.send(whole.as_bytes()).await;
        let answer = next.receive(BOUND).await;
        (sent && answer.is_some_and(|answer| raw_status(&answer) == 200)).then_some(())
    })
    .await;
    assert!(connection.send(PAGE.as_bytes()).await);
}

#[tokio::test]
async fn a_client_that_takes_its_answers_bit_by_bit_is_ended_all_the_same() {
    let node = node().start().await;
    let mut connection = RawConnection::open_narrow(node.address()).await;
    let started = Instant::now();
    let ended = within(BOUND, "the node ends the connection", async || {
        if !connection.stuff(PAGE.repeat(1000).as_bytes()) {
            return Some(started.elapsed());
        }
        // A little progress all the time.
        connection.take(1_300, Duration::from_millis(100)).await;
        None
    })
    .await;
    assert!(ended >= Duration::from_secs(2), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_pipelines_and_reads_gets_every_answer_in_order() {
    for workers in ["1", "2"] {
        let node = node().set("http.workers", workers).start().await;
        let code = node.client().shorten("https://example.com/").await.code();
        let body = "url=https%3A%2F%2Fexample.com%2F";
        let requests: String = (0..100)
            .map(|number| {
                let (line, rest) = match number % 4 {
                    0 => ("GET /".to_owned(), "Accept: text/html\r\n\r\n".to_owned()),
                    1 => (format!("GET /{code}"), "\r\n".to_owned()),
                    2 => (
                        "POST /shorten".to_owned(),
                        format!(
                            "Content-Type: application/x-www-form-urlencoded\r\n\
                             Content-Length: {}\r\n\r\n{body}",
                            body.len()
                        ),
                    ),
                    _ => (
                        "POST /shorten".to_owned(),
                        format!(
                            "Content-Type: application/x-www-form-urlencoded\r\n\
                             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                            body.len()
                        ),
                    ),
                };
                format!("{line} HTTP/1.1\r\nHost: a\r\nX-Request-Id: number-{number}.\r\n{rest}")
            })
            .collect();
        // All at once, and in pieces that end anywhere.
        for at_once in [requests.len(), 1, 7, 1000] {
            let (mut reading, mut writing) = open(&node).await.split();
            let sent = requests.clone();
            let sender = tokio::spawn(async move {
                for piece in sent.as_bytes().chunks(at_once) {
                    assert!(writing.send(piece).await, "closed");
                }
                writing
            });
            let mut answers = String::new();
            while !answers.contains("number-99.") {
                let part = reading.receive(BOUND).await;
                let part = part.unwrap_or_else(|| panic!("{at_once}: closed after {answers}"));
                assert!(!part.is_empty(), "{at_once}: hangs after {answers}");
                answers += &part;
            }
            sender.await.expect("no panic");
            let ids = answers
                .lines()
                .filter_map(|line| line.strip_prefix("x-request-id: number-"));
            let ids: Vec<usize> = ids
                .map(|id| id.trim_end_matches('.').parse().expect("a number"))
                .collect();
            assert_eq!(ids, (0..100).collect::<Vec<_>>(), "{at_once}");
            let ok = answers.matches("HTTP/1.1 200").count();
            let found = answers.matches("HTTP/1.1 302").count();
            assert_eq!((ok, found), (75, 25), "{at_once}");
        }
    }
}

/// A connection over the limit waits until another one ends.
#[tokio::test]
async fn connections_beyond_the_most_wait_for_a_place() {
    let node = node()
        .set("http.max_connections", "16")
        .set("http.workers", "1")
        .set("http.request_timeout", "1m")
        .start()
        .await;
    let mut connections = Vec::new();
    for _ in 0..16 {
        connections.push(open(&node).await);
    }
    eventually("all are accepted", async || {
        (node.metric("shunt_http_connections", &[]).await == 16.0).then_some(())
    })
    .await;
    let mut next = open(&node).await;
    assert!(next.send(PAGE.as_bytes()).await);
    let said = next.receive(Duration::from_millis(500)).await;
    assert_eq!(said.as_deref(), Some(""), "one too many is served");
    connections.pop();
    let answer = next.receive(BOUND).await.expect("an answer");
    assert_eq!(raw_status(&answer), 200, "{answer}");
}
