//! A valid key is a client of its own, on every node.

use futures_util::future::join_all;
use testkit::{Node, Postgres, Redis, needs};

use super::{counting_in, create, get, home, policy, shorten};
use crate::api::exchange::{assert_problem, assert_status, send};

#[tokio::test]
async fn a_key_has_600_requests_a_minute_and_its_address_keeps_its_own() {
    let builder = Node::builder();
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    let client = node.client();
    for used in 1..=30 {
        let answer = home(&client, &key).await;
        assert_status(&answer, 200, "three times the quota of an address");
        assert_eq!(policy(&answer), "\"per-key\";q=600;w=60");
        assert_eq!(answer.number("x-ratelimit-limit"), 600);
        assert_eq!(answer.number("x-ratelimit-remaining"), 600 - used);
        let state = answer.header("ratelimit").unwrap();
        let expected = format!("\"per-key\";r={};t=", 600 - used);
        assert!(state.starts_with(&expected), "{state}");
    }
    // Behind the router of actix-web too.
    let answer = send(get(&client, "/a/b", &key)).await;
    assert_status(&answer, 404, "no route");
    assert_eq!(answer.number("x-ratelimit-remaining"), 600 - 31);
    let answer = client.get("/").await;
    assert_eq!(policy(&answer), "\"default\";q=10;w=60");
    assert_eq!(answer.number("x-ratelimit-remaining"), 9);
}

/// The same key, whatever the address; another key from the same address is another client.
#[tokio::test]
async fn a_key_is_one_client_from_any_address() {
    let builder = Node::builder().set("limiter.per_key", "4/minute");
    let node = builder.start().await;
    let phone = create(&builder, "phone", &[]);
    let own = create(&builder, "script", &["--quota", "6/hour"]);
    for (key, quota, policy_header) in [
        (&phone, 4, "\"per-key\";q=4;w=60"),
        (&own, 6, "\"per-key\";q=6;w=3600"),
    ] {
        for number in 1..=12_u8 {
            let client = node.client_at([127, 0, 3, number % 3]);
            let answer = send(get(&client, "/no-such-link", key)).await;
            let what = format!("request {number} of {quota}");
            if number <= quota {
                assert_status(&answer, 404, &what);
            } else {
                assert_problem(&answer, 429, &what);
                assert!(answer.number("retry-after") >= 1, "{what}");
            }
            assert_eq!(policy(&answer), policy_header, "{what}");
            assert_eq!(answer.number("x-ratelimit-limit"), u64::from(quota));
        }
    }
}

/// A flood of requests without a key does not lock the key out of the same address, nor the other way round.
#[tokio::test]
async fn a_flood_from_an_address_and_a_flood_with_a_key_do_not_touch_each_other() {
    let builder = Node::builder();
    let node = builder.start().await;
    let key = create(&builder, "phone", &["--quota", "20/minute"]);
    let client = node.client();
    let mut refused = 0;
    for _ in 0..50 {
        refused += u32::from(client.get("/").await.status == 429);
    }
    assert_eq!(refused, 40);
    // The first use asks the store, which is an attempt of the address: attempts are counted by themselves.
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(home(&client, &key).await.status.as_u16());
    }
    assert_eq!(statuses, [[200; 20].as_slice(), &[429; 30]].concat());
    let other = node.client_at([127, 0, 0, 9]);
    assert_status(&other.get("/").await, 200, "another address");
    assert_problem(&home(&other, &key).await, 429, "the key from there");
}

/// Policies are for addresses, also those of the route and of the network.
#[tokio::test]
async fn no_policy_for_addresses_covers_a_request_with_a_key() {
    let builder = Node::builder()
        .set("limiter.policies.shorten.quota", "1/hour")
        .set("limiter.policies.shorten.routes", "shorten")
        .set("limiter.policies.local.quota", "2/hour")
        .set("limiter.policies.local.clients", "127.0.0.0/8");
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    let client = node.client();
    for _ in 0..5 {
        let answer = send(shorten(&client, &key)).await;
        assert_status(&answer, 200, "with a key");
        assert_eq!(policy(&answer), "\"per-key\";q=600;w=60");
    }
    assert_status(&client.shorten("https://example.com/").await, 200, "");
    let answer = client.shorten("https://example.com/").await;
    assert_problem(&answer, 429, "without one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_requests_with_a_key_over_two_nodes_exactly_10_are_admitted() {
    needs!("redis-server", "postgres");
    let redis = Redis::start().await;
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = counting_in(Some(&redis)).postgres(&database);
    let nodes = [builder.start().await, builder.start().await];
    for number in 1..=10_u8 {
        let key = create(
            &builder,
            &format!("key-{number}"),
            &["--quota", "10/minute"],
        );
        let answers = (0..64).map(|request| {
            let client = nodes[request % 2].client_at([127, 0, number, request as u8]);
            let key = key.clone();
            tokio::spawn(async move { home(&client, &key).await.status.as_u16() })
        });
        let statuses: Vec<_> = join_all(answers).await;
        let statuses: Vec<u16> = statuses.into_iter().map(|s| s.unwrap()).collect();
        let count = |status| statuses.iter().filter(|other| **other == status).count();
        assert_eq!((count(200), count(429)), (10, 54), "key {number}");
    }
    let local = ["source=\"local\""];
    for node in &nodes {
        let local = node.metric("shunt_limiter_decisions_total", &local);
        assert_eq!(local.await, 0.0);
    }
    // One log for each key, named by its number, and none of an address but those of attempts.
    let mut logs: Vec<String> = redis.command("KEYS rate_limit:*key:*").await;
    logs.sort();
    assert_eq!(logs.len(), 10, "{logs:?}");
    assert!(logs.contains(&"rate_limit:per-key:key:1".to_owned()));
    let ttl: i64 = redis.command("TTL rate_limit:per-key:key:1").await;
    assert!((1..=60).contains(&ttl), "{ttl}");
}
