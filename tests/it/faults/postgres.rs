//! Postgres is killed, frozen or late.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use testkit::{Node, NodeBuilder, Postgres, Traffic, eventually, free_port, needs};

fn node() -> NodeBuilder {
    Node::builder()
        .set("limiter.enabled", "false")
        // Long enough for a busy machine, and less than a client waits.
        .set("database.timeout", "5s")
}

/// Eight clients that make links.
fn writes(node: &Node) -> Traffic {
    Traffic::start(&vec![node.client(); 8], |client, number| {
        let url = format!("https://example.com/{number}");
        client
            .request(Method::POST, "/shorten")
            .form(&[("url", url)])
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_under_writes() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node().postgres(&database).start().await;
    let writes = writes(&node);
    writes.answers(200).await;
    let before = writes.take();
    assert_eq!(
        before.statuses.keys().collect::<Vec<_>>(),
        [&200],
        "{before:?}"
    );

    postgres.kill();
    eventually("writes are answered with 503", async || {
        writes.take().statuses.contains_key(&503).then_some(())
    })
    .await;
    let answer = node.client().shorten("https://example.com/away").await;
    assert_eq!(answer.status, 503);
    assert!(answer.number("retry-after") >= 1);
    assert_eq!(
        answer.json()["error"],
        "The service is temporarily unavailable"
    );
    let ready = node.probe().get("/readyz").await;
    assert_eq!(ready.status, 200, "it is away for all nodes: {ready:?}");
    assert_eq!(ready.json()["status"], "degraded");

    postgres.restart().await;
    eventually("writes are stored again", async || {
        (node
            .client()
            .shorten("https://example.com/back")
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    writes.take();
    writes.answers(200).await;
    let after = writes.stop().await;
    assert_eq!(after.broken, [] as [&str; 0]);
    assert!(!after.statuses.contains_key(&500), "{after:?}");
    // The last 503 may still have been under way.
    assert!(after.statuses[&200] >= 190, "{after:?}");
    eventually("the node has found out that all works", async || {
        let ready = node.probe().get("/readyz").await;
        (ready.json()["status"] == "ready").then_some(())
    })
    .await;
    // One line, not one per request.
    node.logged("the database fails", 1).await;
}

/// The pool still holds connections to the server that was killed. No request may fail because of them.
#[tokio::test]
async fn a_restart_between_two_requests_goes_unnoticed() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node().postgres(&database).start().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    // Several connections, all of which go stale.
    let at_once = (0..12).map(|number| {
        let client = client.clone();
        async move {
            client
                .shorten(&format!("https://example.com/{number}"))
                .await
                .code()
        }
    });
    futures_util::future::join_all(at_once).await;

    postgres.kill();
    postgres.restart().await;
    assert_eq!(client.get(&format!("/{code}")).await.status, 302);
    assert_eq!(client.shorten("https://example.com/").await.code(), code);
    let alias = [("url", "https://example.com/"), ("alias", "after-restart")];
    let request = client.request(Method::POST, "/shorten").form(&alias);
    assert_eq!(
        testkit::Answer::to(request)
            .await
            .expect("an answer")
            .status,
        200
    );
}

#[tokio::test]
async fn frozen_it_costs_a_request_no_more_than_the_timeout() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let timeout = Duration::from_secs(3);
    let node = node().postgres(&database).set("database.timeout", "3s");
    let node = node.start().await;
    let code = node.client().shorten("https://example.com/").await.code();
    postgres.freeze();
    for _ in 0..3 {
        let answer = node.client().get(&format!("/{code}")).await;
        assert_eq!(answer.status, 503);
        assert!(answer.took < 2 * timeout, "{:?}", answer.took);
    }
    // What needs no database works.
    assert_eq!(node.client().get("/").await.status, 200);
    postgres.thaw();
    eventually("redirects work again", async || {
        let answer = node.client().get(&format!("/{code}")).await;
        (answer.status == 302).then_some(())
    })
    .await;
}

#[tokio::test]
async fn unreachable_at_start_is_said_and_ends_the_node() {
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/shunt", free_port());
    let started = Instant::now();
    let builder = node()
        .set("database.url", &nowhere)
        .set("database.startup_timeout", "2s");
    let (mut process, log) = builder.spawn();
    assert_eq!(process.wait(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    let logged = eventually("the log is read", async || {
        let log = log.lock().expect("no panic").join("\n");
        log.contains("giving up").then_some(log)
    })
    .await;
    assert!(logged.contains("cannot reach the database yet"), "{logged}");
    assert!(logged.contains("Connection refused"), "{logged}");
}

#[tokio::test]
async fn a_database_that_comes_up_late_is_waited_for() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    postgres.kill();
    let builder = node().postgres(&database);
    let (started, ()) = tokio::join!(builder.start(), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        postgres.restart().await;
    });
    assert_eq!(
        started
            .client()
            .shorten("https://example.com/")
            .await
            .status,
        200
    );
}

/// A stop signal during the start is not lost.
#[tokio::test]
async fn a_node_that_waits_for_its_database_can_be_stopped() {
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/shunt", free_port());
    let builder = node()
        .set("database.url", &nowhere)
        .set("database.startup_timeout", "5m");
    let (mut process, log) = builder.spawn();
    eventually("the node waits", async || {
        let log = log.lock().expect("no panic");
        log.iter()
            .any(|line| line.contains("cannot reach"))
            .then_some(())
    })
    .await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
}
