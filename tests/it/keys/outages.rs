//! Redis or the database is away.

use std::time::{Duration, Instant};

use reqwest::Method;
use testkit::{Node, NodeBuilder, Postgres, Redis, eventually, needs};

use super::{create, get, home, policy, shorten, unknown};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

/// How long a redirect may take on a machine that is busy with other tests, while the database does not answer.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// A key with a quota of 10, of which it has used 4, on a node whose Redis is away.
async fn after_an_outage(choice: &str) -> (Node, NodeBuilder, String) {
    let mut redis = Redis::start().await;
    let builder = Node::builder()
        .redis(&redis)
        .set("limiter.nodes", "2")
        .set("limiter.redis.timeout", "2s")
        .set("limiter.on_redis_failure", choice);
    let node = builder.start().await;
    let key = create(&builder, "phone", &["--quota", "10/hour"]);
    for _ in 0..4 {
        assert_status(&home(&node.client(), &key).await, 200, choice);
    }
    redis.kill();
    node.breaker_is(true).await;
    (node, builder, key)
}

/// A key is divided among the nodes like an address is.
#[tokio::test]
async fn while_redis_is_away_a_key_gets_what_on_redis_failure_says() {
    needs!("redis-server");
    for (choice, statuses) in [
        ("split", [[200; 3].as_slice(), &[429; 9]].concat()),
        ("local", [[200; 6].as_slice(), &[429; 6]].concat()),
        ("allow", vec![200; 12]),
        ("deny", vec![503; 12]),
    ] {
        let (node, _builder, key) = after_an_outage(choice).await;
        let mut answered = Vec::new();
        for _ in 0..12 {
            let answer = home(&node.client(), &key).await;
            assert_eq!(policy(&answer), "\"per-key\";q=10;w=3600", "{choice}");
            answered.push(answer.status.as_u16());
        }
        assert_eq!(answered, statuses, "{choice}");
        // So are attempts.
        let bad = home(&node.client(), &unknown()).await.status.as_u16();
        assert_eq!(bad, if choice == "deny" { 503 } else { 401 }, "{choice}");
    }
}

/// A node that remembers a key and the link `/known`, and then loses its database.
async fn without_database(lose: impl FnOnce(&mut Postgres)) -> (Node, String, Postgres) {
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let builder = unlimited().postgres(&database);
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    eventually("the node hears of changes", async || {
        let watching = ["shunt_keys_watching", "shunt_cache_watching"];
        let heard = [
            node.metric(watching[0], &[]).await,
            node.metric(watching[1], &[]).await,
        ];
        (heard == [1.0, 1.0]).then_some(())
    })
    .await;
    let client = node.client();
    let form = [("url", "https://example.com/"), ("alias", "known")];
    let make = client.request(Method::POST, "/shorten").form(&form);
    assert_status(&send(make.bearer_auth(&key)).await, 200, "a link");
    for _ in 0..2 {
        let answer = send(get(&client, "/known", &key)).await;
        assert_status(&answer, 302, "beforehand");
    }
    lose(&mut postgres);
    eventually("the node hears of no changes", async || {
        (node.metric("shunt_keys_watching", &[]).await == 0.0).then_some(())
    })
    .await;
    (node, key, postgres)
}

async fn assert_only_redirects_work(node: &Node, key: &str) {
    let client = node.client();
    for _ in 0..20 {
        let answer = send(get(&client, "/known", key)).await;
        assert_status(&answer, 302, "a link and a key that are remembered");
        assert!(policy(&answer).starts_with("\"per-key\""), "{answer:?}");
        assert!(answer.took < AT_ONCE, "{answer:?}");
    }
    // No attempts: the key was valid when the node last asked.
    let attempts = ["policy=\"key-attempts\""];
    let attempts = node.metric("shunt_limiter_decisions_total", &attempts);
    assert_eq!(attempts.await, 1.0, "the first use");
    for request in [shorten(&client, key), get(&client, "/", key)] {
        let answer = send(request).await;
        assert_problem(&answer, 503, "a key that may be revoked");
        assert_eq!(answer.number("retry-after"), 1);
    }
    for path in ["/known", "/"] {
        let answer = send(get(&client, path, &unknown())).await;
        assert_problem(&answer, 503, "a key that nobody knows");
    }
    // What no store has to be asked about is as clear as before.
    let answer = send(get(&client, "/known", "nonsense")).await;
    assert_problem(&answer, 401, "what is no key");
    assert_status(&client.get("/known").await, 302, "without a key");
}

#[tokio::test]
async fn while_the_database_is_down_a_known_key_still_follows_known_links() {
    needs!("postgres");
    let (node, key, mut postgres) = without_database(Postgres::kill).await;
    // Until a ping has failed, a redirect waits for the database, with a key or without.
    let failing = ["what=\"reads\""];
    eventually("the node knows that the database is down", async || {
        let failing = node.metric("shunt_store_failing", &failing).await;
        (failing == 1.0).then_some(())
    })
    .await;
    assert_only_redirects_work(&node, &key).await;
    // From then on, it does not wait at all.
    let began = Instant::now();
    for _ in 0..30 {
        assert_status(&send(get(&node.client(), "/known", &key)).await, 302, "");
    }
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    postgres.restart().await;
    eventually("the key is verified again", async || {
        let answer = send(shorten(&node.client(), &key)).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_the_database_is_frozen_a_known_key_follows_known_links_at_once() {
    needs!("postgres");
    let (node, key, postgres) = without_database(|postgres| postgres.freeze()).await;
    assert_only_redirects_work(&node, &key).await;
    postgres.thaw();
}
