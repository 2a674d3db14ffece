//! A flood that asks one node: the node refuses it by itself, and its client cannot tell.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use reqwest::header::HeaderName;
use testkit::{Answer, Redis, needs};

use super::{Exchange, decisions, flood, node, refused_by, whole_seconds};

fn header_names(answer: &Answer) -> BTreeSet<&str> {
    answer.headers.keys().map(HeaderName::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_without_redis_and_its_client_cannot_tell() {
    needs!("redis-server");
    const LIMIT: usize = 10;
    const WINDOW: Duration = Duration::from_secs(60);
    const WRITE_BACK: Duration = Duration::from_secs(1);
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "1s").start().await;
    let client = node.client_at([127, 0, 20, 1]);
    let logged_before = redis.calls("zadd").await;

    let flood = flood(&client, 300).await;
    let admitted: Vec<_> = flood.iter().map(Exchange::admitted).collect();
    assert!(admitted[..LIMIT].iter().all(|admitted| *admitted));
    assert!(admitted[LIMIT..].iter().all(|admitted| !*admitted));
    let by_shield = refused_by(&node, "shield").await;
    let by_redis = refused_by(&node, "redis").await;
    assert_eq!(by_shield + by_redis, 290);
    assert!(by_redis < 40, "{by_redis} refusals asked Redis");
    // There is also one write-back a second.
    let logged = redis.calls("zadd").await - logged_before;
    assert!(logged < 80, "Redis was told {logged} times");

    // What Redis has decided itself.
    let first = &flood[LIMIT].answer;
    for number in LIMIT..flood.len() {
        let Exchange {
            sent,
            received,
            answer,
        } = &flood[number];
        // The L-th newest when this one arrived, itself included.
        let deciding = &flood[number + 1 - LIMIT];
        let retry_after = answer.number("retry-after");
        let earliest = WINDOW.saturating_sub(*received - deciding.sent);
        assert!(
            retry_after >= whole_seconds(earliest),
            "{number}, early: {retry_after} s for {earliest:?}"
        );
        let latest = WINDOW - (*sent - deciding.received) + 2 * WRITE_BACK;
        assert!(
            retry_after <= whole_seconds(latest.min(WINDOW)),
            "{number}, late: {retry_after} s for {latest:?}"
        );

        let state = format!("\"default\";r=0;t={retry_after}");
        assert_eq!(answer.header("ratelimit"), Some(&*state), "{number}");
        assert_eq!(answer.number("x-ratelimit-reset"), retry_after, "{number}");
        for name in [
            "ratelimit-policy",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "cache-control",
            "content-type",
            "content-length",
        ] {
            assert_eq!(answer.header(name), first.header(name), "{number}, {name}");
        }
        assert_eq!(header_names(answer), header_names(first), "{number}");
        assert_eq!(answer.body, first.body, "{number}");
    }
    let policy = "\"default\";q=10;w=60";
    assert_eq!(first.header("ratelimit-policy"), Some(policy));
    assert_eq!(first.number("x-ratelimit-limit"), 10);
    assert_eq!(first.number("x-ratelimit-remaining"), 0);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.json()["error"], "Rate limit exceeded");

    // On many connections, and so on both threads.
    let many = (0..64).map(|_| {
        let client = node.client_at([127, 0, 20, 1]);
        tokio::spawn(async move { client.get("/").await.status })
    });
    for status in join_all(many).await {
        assert_eq!(status.expect("no panic"), 429);
    }
    let other = node.client_at([127, 0, 20, 2]).get("/").await;
    assert_eq!(
        (other.status.as_u16(), other.number("x-ratelimit-remaining")),
        (200, 9),
        "no other client is concerned"
    );
    assert_eq!(decisions(&node, &["source=\"local\""]).await, 0);
    node.becomes("shunt_limiter_shielded_clients", 0.0).await;
}

/// The shield may tell a client to wait for up to two write-back intervals too long. A client that is too slow for the
/// shield is told the exact second.
#[tokio::test]
async fn a_client_that_is_refused_but_no_flood_is_told_the_exact_moment() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis, "3/minute", "10ms").start().await;
    let client = node.client_at([127, 0, 20, 3]);
    let mut exchanges: Vec<Exchange> = Vec::new();
    for number in 0..6 {
        exchanges.push(Exchange::of(&client).await);
        assert_eq!(exchanges[number].admitted(), number < 3);
        if number >= 3 {
            // This one came more than a second ago. The shield would reckon with the present instead.
            let deciding = &exchanges[number - 2];
            let least = exchanges[number].sent - deciding.received;
            let most = exchanges[number].received - deciding.sent;
            let exact = whole_seconds(Duration::from_secs(60) - most)
                ..=whole_seconds(Duration::from_secs(60) - least);
            let retry_after = exchanges[number].answer.number("retry-after");
            assert!(exact.contains(&retry_after), "{retry_after}, not {exact:?}");
        }
        tokio::time::sleep(Duration::from_millis(550)).await;
    }
    assert_eq!(refused_by(&node, "shield").await, 0);
    assert_eq!(refused_by(&node, "redis").await, 3);
}

#[tokio::test]
async fn without_the_shield_every_refusal_asks_redis() {
    needs!("redis-server");
    const REQUESTS: usize = 100;
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "250ms")
        .set("limiter.shield", "false")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 8]);
    let logged = redis.calls("zadd").await;
    let flood = flood(&client, REQUESTS).await;
    let admitted = flood.iter().filter(|exchange| exchange.admitted()).count();
    assert_eq!(admitted, 10);
    assert_eq!(redis.calls("zadd").await - logged, REQUESTS as u64);
    assert_eq!(refused_by(&node, "redis").await, REQUESTS - 10);
    assert_eq!(decisions(&node, &["source=\"shield\""]).await, 0);
    node.becomes("shunt_limiter_shielded_clients", 0.0).await;
}

#[tokio::test]
async fn a_flood_under_one_policy_is_none_under_another() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "1s")
        .set("limiter.policies.shorten.quota", "3/minute")
        .set("limiter.policies.shorten.routes", "shorten")
        .set("limiter.policies.follow.quota", "1000/minute")
        .set("limiter.policies.follow.routes", "follow")
        .set("limiter.policies.total.quota", "5000/day")
        .set("limiter.policies.total.routes", "shorten")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 9]);
    let state = |answer: &Answer, name: &str| {
        let states = answer.header("ratelimit").expect("RateLimit").split(", ");
        let prefix = format!("\"{name}\";r=");
        let mut states = states.filter_map(|state| state.strip_prefix(&*prefix));
        let (remaining, _) = states.next()?.split_once(';')?;
        remaining.parse::<usize>().ok()
    };
    for number in 1..=100 {
        let answer = client.shorten("https://example.com/").await;
        let expected = if number <= 3 { 200 } else { 429 };
        assert_eq!(answer.status, expected, "{number}: {answer:?}");
        assert_eq!(
            state(&answer, "shorten"),
            Some(3_usize.saturating_sub(number))
        );
        // What one policy refuses counts under the other.
        assert_eq!(state(&answer, "total"), Some(5_000 - number), "{answer:?}");

        let answer = client.get("/Ab3xY9").await;
        assert_eq!(answer.status, 404, "{number}: {answer:?}");
        assert_eq!(state(&answer, "follow"), Some(1_000 - number), "{answer:?}");
    }
    let by_shield = ["source=\"shield\""];
    assert!(decisions(&node, &by_shield).await > 50);
    let of_shorten = ["policy=\"shorten\"", by_shield[0]];
    assert_eq!(
        decisions(&node, &of_shorten).await,
        decisions(&node, &by_shield).await
    );
}
