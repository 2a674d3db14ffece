//! The limit over several nodes on one Redis: exact, even if their clocks are wrong.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use testkit::{Client, Node, NodeBuilder, Postgres, Redis, needs};

/// A node with the default quota. It waits for Redis for a long time: these tests are about exactness, and if a machine
/// stalls for 100 ms, the node must not begin to count for itself.
fn node(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.redis.timeout", "10s")
}

/// Sends `requests` at once from one client, spread over the nodes. Returns how many were admitted.
async fn fire(nodes: &[&Node], client: [u8; 4], requests: usize) -> usize {
    let clients: Vec<Client> = nodes.iter().map(|node| node.client_at(client)).collect();
    let answers = (0..requests).map(|number| {
        let client = clients[number % clients.len()].clone();
        tokio::spawn(async move { client.get("/").await.status })
    });
    let mut admitted = 0;
    for status in join_all(answers).await {
        match status.expect("no panic").as_u16() {
            200 => admitted += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_requests_exactly_10_are_admitted() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = [node(&redis).start().await, node(&redis).start().await];
    for number in 1..=30 {
        let admitted = fire(&[&nodes[0], &nodes[1]], [127, 0, 1, number], 64).await;
        assert_eq!(admitted, 10, "client {number}");
    }
    for node in &nodes {
        assert_eq!(
            node.metric("shunt_limiter_decisions_total", &["source=\"local\""])
                .await,
            0.0
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_wrong_changes_nothing() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start().await;
    let right = node(&redis).start().await;
    for (number, (shift, seconds)) in [("+3600", 3600.0), ("-5", -5.0)].into_iter().enumerate() {
        let wrong = node(&redis).clock(shift).start().await;
        let ahead = wrong
            .metric("shunt_limiter_wall_clock_ahead_seconds", &[])
            .await;
        assert!(
            (ahead - seconds).abs() < 1.0,
            "the clock is really shifted: {ahead}"
        );
        for client in 1..=10 {
            let client = [127, 0, 2 + u8::try_from(number).expect("small"), client];
            // First one node after the other, half of the clients to the wrong one first. Then both at once.
            let order = if client[3] % 2 == 0 {
                [&wrong, &right]
            } else {
                [&right, &wrong]
            };
            let admitted = fire(&order[..1], client, 7).await
                + fire(&order[1..], client, 7).await
                + fire(&order, client, 50).await;
            assert_eq!(admitted, 10, "clock {shift}, client {client:?}");
        }
    }
}

/// Checks that `Retry-After` is neither early nor late by more than rounding, on one node or two.
async fn retry_after_is_exact(first: &Node, second: &Node) {
    let window = Duration::from_secs(2);
    // Two clients, because one that comes early has to wait again.
    let mut early = first.client_at([127, 0, 5, 1]);
    let mut in_time = first.client_at([127, 0, 5, 2]);
    let mut deciding = None;
    for number in 1..=4 {
        let sent = Instant::now();
        let answers = (early.get("/").await, in_time.get("/").await);
        let received = Instant::now();
        let expected = if number <= 3 { 200 } else { 429 };
        assert_eq!(
            (answers.0.status.as_u16(), answers.1.status.as_u16()),
            (expected, expected)
        );
        if number == 2 {
            // Of four requests, the third newest is the second.
            deciding = Some((sent, received));
        }
        if number == 4 {
            let (sent, received) = deciding.expect("the second came before");
            for answer in [answers.0, answers.1] {
                let retry_after = Duration::from_secs(answer.number("retry-after"));
                assert!(Instant::now() + retry_after >= sent + window, "never early");
                assert!(retry_after <= window, "{retry_after:?}");
                assert!(received + retry_after < received + window + Duration::from_secs(1));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (sent, received) = deciding.expect("the second came before");
    early.move_to(second);
    in_time.move_to(second);
    let just_before = sent + window - Duration::from_millis(60);
    tokio::time::sleep_until(just_before.into()).await;
    let answer = early.get("/").await;
    // If the machine stalled for that long, the answer proves nothing.
    if Instant::now() < sent + window {
        assert_eq!(answer.status, 429, "just before");
    }
    tokio::time::sleep_until((received + window + Duration::from_millis(5)).into()).await;
    assert_eq!(in_time.get("/").await.status, 200, "just after");
}

#[tokio::test]
async fn retry_after_is_exact_in_process() {
    let node = Node::builder().set("limiter.quota", "3/2s").start().await;
    retry_after_is_exact(&node, &node).await;
}

#[tokio::test]
async fn retry_after_is_exact_over_two_nodes() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let first = node(&redis).set("limiter.quota", "3/2s").start().await;
    let second = node(&redis).set("limiter.quota", "3/2s").start().await;
    retry_after_is_exact(&first, &second).await;
}

#[tokio::test]
async fn a_client_that_keeps_hammering_stays_refused() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = [
        node(&redis).set("limiter.quota", "3/s").start().await,
        node(&redis).set("limiter.quota", "3/s").start().await,
    ];
    let clients = [nodes[0].client(), nodes[1].client()];
    let started = Instant::now();
    let (mut admitted, mut number, mut last) = (0, 0, Instant::now());
    // For three windows, and never a third of a window without a request.
    while started.elapsed() < Duration::from_secs(3) {
        let answer = clients[number % 2].get("/").await;
        assert!(
            last.elapsed() < Duration::from_millis(330),
            "this machine stalled"
        );
        last = Instant::now();
        number += 1;
        admitted += usize::from(answer.status == 200);
        assert!(redis.command::<u32>("ZCARD rate_limit:127.0.0.1").await <= 4);
        let ttl: i64 = redis.command("PTTL rate_limit:127.0.0.1").await;
        assert!((0..=1_000).contains(&ttl), "{ttl} ms");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(admitted, 3, "of {number}");
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    assert_eq!(clients[0].get("/").await.status, 200, "quiet for a window");
}

#[tokio::test]
async fn the_reference_behaviour_holds_end_to_end() {
    needs!("redis-server", "postgres");
    let redis = Redis::start().await;
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node(&redis).postgres(&database).start().await;
    let client = node.client();
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(client.shorten("https://example.com/").await.status.as_u16());
    }
    assert_eq!(
        statuses,
        [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 429]
    );
    let ttl: i64 = redis.command("TTL rate_limit:127.0.0.1").await;
    assert!((58..=60).contains(&ttl), "{ttl}");
    assert_eq!(redis.command::<u32>("ZCARD rate_limit:127.0.0.1").await, 11);
}

#[tokio::test]
async fn every_policy_has_a_log_of_its_own_in_redis() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis)
        .set("limiter.policies.burst.quota", "2/s")
        .set("limiter.policies.burst.routes", "home")
        .set("limiter.policies.daily.quota", "100/day")
        .set("limiter.policies.daily.routes", "home")
        .start()
        .await;
    node.client().get("/").await;
    node.client().get("/unknown").await;
    let mut keys: Vec<String> = redis.command("KEYS rate_limit:*").await;
    let logs_only = |key: &String| {
        let others = ["rate_limit:clock", "rate_limit:nodes"];
        !key.starts_with("rate_limit:probe:") && !others.contains(&key.as_str())
    };
    keys.retain(logs_only);
    keys.sort();
    let expected = [
        "rate_limit:127.0.0.1",
        "rate_limit:burst:127.0.0.1",
        "rate_limit:daily:127.0.0.1",
    ];
    assert_eq!(keys, expected);
    let ttl: i64 = redis.command("TTL rate_limit:daily:127.0.0.1").await;
    assert!((86_395..=86_400).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_url_posted_200_times_at_once_over_two_nodes_has_one_code() {
    needs!("redis-server", "postgres");
    let redis = Redis::start().await;
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = node(&redis)
        .postgres(&database)
        .set("limiter.quota", "1000/minute");
    let nodes = [builder.start().await, builder.start().await];
    let posts = (0..200).map(|number| {
        let client = nodes[number % 2].client();
        tokio::spawn(async move { client.shorten("https://example.com/one").await.code() })
    });
    let codes: HashSet<String> = join_all(posts)
        .await
        .into_iter()
        .map(|code| code.expect("a code"))
        .collect();
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!(database.number("SELECT count(*) FROM urls").await, 1);
    let code = codes.into_iter().next().expect("one");
    for node in &nodes {
        let answer = node.client().get(&format!("/{code}")).await;
        assert_eq!(answer.header("location"), Some("https://example.com/one"));
    }
}
