//! What a node does from the first stop signal to its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use testkit::{Answer, Node, NodeBuilder, Postgres, RawConnection, eventually, needs};

async fn stops_in_order(signal: Signal) {
    let node = Node::builder().set("http.drain", "10m").start().await;
    let (client, probe) = (node.client(), node.probe());
    assert_eq!(probe.get("/readyz").await.status, 200);
    node.signal(signal);
    eventually("the node is not ready", async || {
        (probe.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    assert_eq!(probe.get("/readyz").await.json()["status"], "draining");
    assert_eq!(probe.get("/livez").await.status, 200);
    // The node still serves, but tells the client to send no other request on this connection.
    let answer = client.get("/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));

    let mut node = Node::builder().set("http.drain", "1s").start().await;
    let signalled = Instant::now();
    node.signal(signal);
    assert_eq!(node.exit_code().await, 0);
    assert!(
        signalled.elapsed() >= Duration::from_secs(1),
        "the drain was kept"
    );
}

#[tokio::test]
async fn sigterm_drains_and_exits_0() {
    stops_in_order(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_drains_and_exits_0() {
    stops_in_order(Signal::INT).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_drain() {
    let mut node = Node::builder().set("http.drain", "10m").start().await;
    node.signal(Signal::INT);
    eventually("the node drains", async || {
        (node.probe().get("/readyz").await.status == 503).then_some(())
    })
    .await;
    node.signal(Signal::INT);
    assert_eq!(node.exit_code().await, 1);
}

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let mut node = Node::embedded().await;
    let mut slow = RawConnection::open(node.address()).await;
    let body = b"url=https%3A%2F%2Fexample.com%2Funder-way";
    let head = format!(
        "POST /shorten HTTP/1.1\r\nHost: sho.rt\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        body.len()
    );
    assert!(slow.send(head.as_bytes()).await);
    assert!(slow.send(&body[..10]).await);
    // The limiter counts a request when its head has come in.
    eventually("the request is under way", async || {
        (node.metric("shunt_limiter_decisions_total", &[]).await == 1.0).then_some(())
    })
    .await;
    node.signal(Signal::TERM);
    eventually("the listener is closed", async || {
        tokio::net::TcpStream::connect(node.address()).await.err()
    })
    .await;
    assert!(slow.send(&body[10..]).await);
    let answer = slow
        .receive(Duration::from_secs(30))
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(node.exit_code().await, 0);
}

/// A node that stops answers every request on a connection that it has accepted, whether the connection is new or kept
/// alive.
async fn loses_nothing(builder: NodeBuilder) {
    let builder = builder
        .set("limiter.enabled", "false")
        // Within the drain each client learns that its connection closes. On a busy machine a client may not run for a
        // second.
        .set("http.drain", "5s")
        .set("database.timeout", "20s");
    let mut node = builder.start().await;
    let stopped = Arc::new(AtomicBool::new(false));
    let clients = (1..=16_u8).map(|number| {
        let (client, stopped) = (node.client_at([127, 0, 0, number]), stopped.clone());
        tokio::spawn(async move {
            let mut answered = 0;
            loop {
                let request = if number % 2 == 0 {
                    client.request(Method::GET, "/")
                } else {
                    let url = format!("https://example.com/{number}/{answered}");
                    client
                        .request(Method::POST, "/shorten")
                        .form(&[("url", url)])
                };
                match Answer::to(request).await {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    Ok(answer) => return Err(format!("{answer:?}")),
                    // The listener is closed. A load balancer would turn to another node.
                    Err(error) if error.is_connect() && stopped.load(Ordering::Relaxed) => {
                        return Ok(answered);
                    }
                    Err(error) => return Err(format!("{error:?}")),
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    eventually("there is load", async || {
        let answered = node
            .metric("shunt_http_requests_total", &["status=\"200\""])
            .await;
        (answered > 300.0).then_some(())
    })
    .await;
    stopped.store(true, Ordering::Relaxed);
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);
    for client in join_all(clients).await {
        let answered = client.expect("no panic").expect("no request is lost");
        assert!(answered > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_no_request() {
    loses_nothing(Node::builder()).await;
}

/// The kernel may allow to root what it does not allow to other users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_no_request_without_privileges() {
    loses_nothing(Node::builder().unprivileged()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_no_request_on_postgres() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    loses_nothing(Node::builder().postgres(&database)).await;
}
