//! A flood that one node refuses by itself, as other nodes see it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use testkit::{Client, Redis, Traffic, needs};

use super::{CLOCK_ERROR, Exchange, flood, node, refused_by, shield_refuses};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_refuses_by_itself_counts_on_the_others() {
    needs!("redis-server");
    const LIMIT: usize = 5;
    const WINDOW: Duration = Duration::from_secs(4);
    const WRITE_BACK: Duration = Duration::from_millis(250);
    /// How long a busy machine may take over a write.
    const MARGIN: Duration = Duration::from_secs(2);
    let redis = Redis::start().await;
    let first = node(&redis, "5/4s", "250ms").start().await;
    let second = node(&redis, "5/4s", "250ms").start().await;
    let client = [127, 0, 20, 4];
    let flood = Traffic::start(&[first.client_at(client)], |client, _| {
        client.request(Method::GET, "/")
    });
    shield_refuses(&first, 10).await;

    // Until the requests that Redis decided have left the window.
    let shielded = Instant::now();
    let before = (
        refused_by(&first, "shield").await,
        refused_by(&first, "redis").await,
    );
    while shielded.elapsed() < WINDOW + Duration::from_millis(500) {
        let now = redis.now().await;
        let log = redis.logged("rate_limit:127.0.20.4").await;
        assert!(log.len() <= LIMIT + 1, "{log:?}");
        let newest = log.last().expect("the client is known");
        let age = Duration::from_micros(u64::try_from(now - newest).unwrap_or(0));
        assert!(age < WRITE_BACK + MARGIN, "written {age:?} late");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let without = refused_by(&first, "shield").await - before.0;
    let asked = refused_by(&first, "redis").await - before.1;
    assert!(without > 5 * asked, "mostly the shield: {without}, {asked}");

    let answer = second.client_at(client).get("/").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(refused_by(&second, "redis").await, 1);
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), LIMIT, "{seen:?}");
    assert_eq!(seen.total(), LIMIT + seen.count(429), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_two_nodes_is_admitted_once_for_as_long_as_it_lasts() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let builder = node(&redis, "10/3s", "250ms");
    let nodes = [builder.start().await, builder.start().await];
    let clients = [&nodes[0], &nodes[0], &nodes[1], &nodes[1]];
    let clients = clients.map(|node| node.client_at([127, 0, 20, 5]));
    let flood = Traffic::start(&clients, |client, _| client.request(Method::GET, "/"));
    tokio::time::sleep(Duration::from_secs(7)).await;
    for node in &nodes {
        shield_refuses(node, 10).await;
    }
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), 10, "{seen:?}");
    assert_eq!(seen.total(), 10 + seen.count(429), "{seen:?}");
    for node in &nodes {
        let without = refused_by(node, "shield").await;
        let asked = refused_by(node, "redis").await;
        assert!(without > 5 * asked, "mostly the shield: {without}, {asked}");
    }
}

/// When a client comes back.
#[derive(Clone, Copy)]
enum Return {
    /// Just before the first moment at which it may be admitted.
    JustBefore,
    /// Just after the last moment at which it may be refused.
    JustAfter,
    /// When `Retry-After` is over.
    AsTold,
}

/// A flood that becomes slower towards its end, so that the exact moment is well before what the shield tells.
async fn fading_flood(client: &Client) -> Vec<Exchange> {
    let mut flood = flood(client, 60).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        flood.push(Exchange::of(client).await);
    }
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_has_ended_is_admitted_as_told_and_not_before_its_time() {
    needs!("redis-server");
    const LIMIT: usize = 5;
    const WINDOW: Duration = Duration::from_secs(3);
    let redis = Redis::start().await;
    let builder = node(&redis, "5/3s", "250ms");
    let nodes = [builder.start().await, builder.start().await];

    // Each is a client of its own, because one that is early has to wait again.
    let clients = [
        (1, Return::JustBefore, &nodes[0]),
        (2, Return::JustBefore, &nodes[1]),
        (3, Return::JustAfter, &nodes[0]),
        (4, Return::JustAfter, &nodes[1]),
        (5, Return::AsTold, &nodes[0]),
        (6, Return::AsTold, &nodes[1]),
    ];
    let clients = clients.map(async |(number, return_, node)| {
        let mut client = nodes[0].client_at([127, 0, 21, number]);
        let flood = fading_flood(&client).await;
        let last = flood.last().expect("the last");
        assert!(!last.admitted());
        // Before the next one comes, this is the L-th newest.
        let deciding = &flood[flood.len() - LIMIT];
        let moment = match return_ {
            Return::JustBefore => deciding.sent + WINDOW - Duration::from_millis(60),
            Return::JustAfter => deciding.received + WINDOW + CLOCK_ERROR,
            Return::AsTold => {
                last.received + Duration::from_secs(last.answer.number("retry-after"))
            }
        };
        client.move_to(node);
        tokio::time::sleep_until(moment.into()).await;
        let back = Exchange::of(&client).await;
        match return_ {
            // If the machine stalled for that long, the answer proves nothing.
            Return::JustBefore if back.received >= deciding.sent + WINDOW => {}
            Return::JustBefore => assert!(!back.admitted(), "client {number}"),
            _ => assert!(back.admitted(), "client {number}: {:?}", back.answer),
        }
    });
    join_all(clients).await;
    assert!(refused_by(&nodes[0], "shield").await > 100);
}
