//! A node that stops, and a Redis that goes away, while the shield refuses.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use testkit::{Answer, Redis, Traffic, needs};

use super::{CLOCK_ERROR, flood, node, refused_by, shield_refuses};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_leaves_what_it_has_refused_behind() {
    needs!("redis-server");
    const LIMIT: usize = 10;
    const WRITE_BACK: Duration = Duration::from_secs(10);
    let redis = Redis::start().await;
    let started = Instant::now();
    // It still refuses while it drains.
    let mut node = node(&redis, "10/minute", "10s")
        .set("http.drain", "300ms")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 6]);
    let flood = tokio::spawn(async move {
        let mut refused = Vec::new();
        loop {
            let sent = Instant::now();
            match Answer::to(client.request(Method::GET, "/")).await {
                Ok(answer) if answer.status == 429 => refused.push(sent),
                Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                // The node is gone.
                Err(_) => return refused,
            }
        }
    });
    shield_refuses(&node, 50).await;
    let (redis_time, at) = (redis.now().await, Instant::now());
    shield_refuses(&node, 50).await;
    let log = redis.logged("rate_limit:127.0.20.6").await;
    // On a machine that is slower than this, Redis is told before the node ends.
    if started.elapsed() < WRITE_BACK {
        assert!(log.iter().all(|&time| time < redis_time), "too early");
    }
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);

    let refused = flood.await.expect("no panic");
    // The last refusal is in the log, and so are all that count before it.
    let deciding = refused[refused.len() - LIMIT - 1];
    let last = refused[refused.len() - 1];
    let log = redis.logged("rate_limit:127.0.20.6").await;
    assert_eq!(log.len(), LIMIT + 1, "{log:?}");
    for (what, time, sent) in [("oldest", log[0], deciding), ("newest", log[LIMIT], last)] {
        let after = i64::try_from((sent - at).as_micros()).expect("small");
        let tolerance = CLOCK_ERROR.as_micros() as i64;
        assert!(
            time >= redis_time + after - tolerance,
            "the {what} in the log came before: {time}, {after} after {redis_time}"
        );
    }
}

/// The node ends when all refusals are in Redis or one timeout has passed. It does not wait for a timeout for every few
/// clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_does_not_wait_for_a_redis_that_is_frozen() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut node = node(&redis, "1/minute", "10s")
        .set("limiter.redis.timeout", "1s")
        .start()
        .await;
    for number in 0..=255 {
        flood(&node.client_at([127, 0, 23, number]), 3).await;
    }
    assert!(refused_by(&node, "shield").await > 200);
    redis.freeze();
    let signalled = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_and_when_it_comes_back_empty_the_shield_remembers() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    // The flood is still on when Redis is back.
    let node = node(&redis, "10/minute", "5s").start().await;
    let flood = Traffic::start(&[node.client_at([127, 0, 20, 7])], |client, _| {
        client.request(Method::GET, "/")
    });
    shield_refuses(&node, 50).await;
    assert_eq!(flood.seen().count(200), 10);

    redis.kill();
    node.breaker_is(true).await;
    shield_refuses(&node, 50).await;
    redis.restart().await;
    node.breaker_is(false).await;
    shield_refuses(&node, 50).await;
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), 10, "no second quota");
    assert_eq!(seen.total(), 10 + seen.count(429), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
    assert_eq!(redis.logged("rate_limit:127.0.20.7").await.len(), 11);
}
