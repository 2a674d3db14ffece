//! Redis is killed, frozen or full.

use std::time::Duration;

use reqwest::Method;
use testkit::{Client, Node, NodeBuilder, Redis, Seen, Traffic, needs};

/// `limiter.redis.timeout` of these tests. The default is 100 ms. A busy machine may not run Redis or the node for that
/// long, and then the breaker opens more often than these tests expect.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request waits for Redis if the machine did not run the node meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How much longer a request may take on a busy machine.
const MARGIN: Duration = Duration::from_secs(1);

fn builder(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.redis.timeout", "2s")
}

/// A node whose limit no client reaches.
fn node(redis: &Redis) -> NodeBuilder {
    builder(redis).set("limiter.quota", "100000/minute")
}

/// Eight clients at addresses of their own.
fn clients(node: &Node) -> Vec<Client> {
    (1..=8)
        .map(|number| node.client_at([127, 0, 9, number]))
        .collect()
}

fn traffic(node: &Node) -> Traffic {
    Traffic::start(&clients(node), |client, _| client.request(Method::GET, "/"))
}

fn assert_calm(seen: &Seen, during: &str) {
    assert_eq!(seen.broken, [] as [&str; 0], "{during}");
    assert_eq!(
        seen.statuses.keys().collect::<Vec<_>>(),
        [&200],
        "{during}: {seen:?}"
    );
    assert!(seen.slowest < LONGEST_WAIT + MARGIN, "{during}: {seen:?}");
}

async fn decided_by(node: &Node, source: &str) -> f64 {
    let label = format!("source=\"{source}\"");
    node.metric("shunt_limiter_decisions_total", &[&label])
        .await
}

/// Sends traffic before, during and after a fault, and checks that clients notice nothing.
async fn survives(
    redis: &mut Redis,
    node: &Node,
    harm: impl AsyncFnOnce(&mut Redis),
    heal: impl AsyncFnOnce(&mut Redis),
) {
    let traffic = traffic(node);
    traffic.answers(200).await;
    assert_calm(&traffic.take(), "before");
    assert_eq!(decided_by(node, "local").await, 0.0);

    harm(redis).await;
    node.breaker_is(true).await;
    traffic.answers(500).await;
    assert_calm(&traffic.take(), "while redis is away");
    assert!(decided_by(node, "local").await > 0.0);
    // No request waits for Redis any more.
    traffic.answers(500).await;
    let waiting = traffic.take();
    assert!(waiting.slowest < TIMEOUT, "{waiting:?}");

    heal(redis).await;
    node.breaker_is(false).await;
    let before = decided_by(node, "redis").await;
    traffic.answers(200).await;
    assert!(decided_by(node, "redis").await > before);
    assert_calm(&traffic.stop().await, "after");
    // One line when it goes, and one when it comes back.
    node.logged("redis is away", 1).await;
    node.logged("redis is back", 1).await;
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
    assert_eq!(opened.await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_under_traffic() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = node(&redis).start().await;
    survives(
        &mut redis,
        &node,
        async |redis| redis.kill(),
        async |redis| redis.restart().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed_under_traffic() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = node(&redis).start().await;
    survives(
        &mut redis,
        &node,
        async |redis| redis.freeze(),
        async |redis| redis.thaw(),
    )
    .await;
    assert!(
        node.metric("shunt_store_errors_total", &["kind=\"timeout\""])
            .await
            >= 1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_memory_under_traffic() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = node(&redis).start().await;
    survives(
        &mut redis,
        &node,
        // Redis answers, but takes no writes: a breaker that asks with PING would open and close again and again.
        async |redis| redis.command::<()>("CONFIG SET maxmemory 1").await,
        async |redis| redis.command::<()>("CONFIG SET maxmemory 0").await,
    )
    .await;
}

/// A node notices a frozen Redis even without requests, so the first request after a quiet time does not wait.
#[tokio::test]
async fn a_frozen_redis_is_noticed_without_requests() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).start().await;
    redis.freeze();
    node.breaker_is(true).await;
    redis.thaw();
    node.breaker_is(false).await;
}

#[tokio::test]
async fn the_limit_holds_in_process_while_redis_is_away() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = builder(&redis).start().await;
    redis.kill();
    node.breaker_is(true).await;
    let client = node.client();
    let mut admitted = 0;
    for _ in 0..15 {
        let answer = client.get("/").await;
        admitted += usize::from(answer.status == 200);
        assert!(answer.header("ratelimit").is_some());
    }
    assert_eq!(admitted, 10);
}

#[tokio::test]
async fn on_redis_failure_allow_lets_everything_pass() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = builder(&redis)
        .set("limiter.on_redis_failure", "allow")
        .start()
        .await;
    redis.kill();
    node.breaker_is(true).await;
    for _ in 0..15 {
        assert_eq!(node.client().get("/").await.status, 200);
    }
    assert_eq!(
        node.metric("shunt_limiter_decisions_total", &["outcome=\"unlimited\""])
            .await,
        15.0
    );
    assert_eq!(node.probe().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn on_redis_failure_deny_is_503_until_redis_is_back() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = builder(&redis)
        .set("limiter.on_redis_failure", "deny")
        .start()
        .await;
    assert_eq!(node.client().get("/").await.status, 200);
    redis.kill();
    node.breaker_is(true).await;
    let answer = node.client().get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.number("retry-after") >= 1);
    let ready = node.probe().get("/readyz").await;
    assert_eq!(ready.status, 200, "redis is away for all nodes: {ready:?}");
    assert_eq!(ready.json()["status"], "degraded");
    redis.restart().await;
    node.breaker_is(false).await;
    assert_eq!(node.client().get("/").await.status, 200);
    assert_eq!(node.probe().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_node_starts_degraded_without_redis_and_finds_it_later() {
    needs!("redis-server");
    let mut redis = Redis::stopped(&[]);
    let node = builder(&redis).start().await;
    assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    assert_eq!(node.client().get("/").await.status, 200);
    let ready = node.probe().get("/readyz").await;
    assert_eq!(ready.status, 200, "degraded is able to serve");
    assert_eq!(ready.json()["status"], "degraded");
    assert_eq!(ready.json()["dependencies"]["redis"]["status"], "down");
    redis.restart().await;
    node.breaker_is(false).await;
    assert_eq!(node.client().get("/").await.status, 200);
    assert_eq!(redis.command::<u32>("EXISTS rate_limit:127.0.0.1").await, 1);
}

/// Redis is out of memory, and then somebody stops it.
#[tokio::test]
async fn the_log_says_what_keeps_redis_away_and_not_only_what_began_it() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let node = node(&redis).start().await;
    redis.command::<()>("CONFIG SET maxmemory 1").await;
    let away = node.logged("redis is away", 1).await;
    assert!(away[0].contains("OOM"), "{away:?}");
    redis.kill();
    let still = node.logged("redis is still away", 1).await;
    assert!(!still[0].contains("OOM"), "{still:?}");
}
