//! How often a password may be tried, over all nodes.

use futures_util::future::join_all;
use serde_json::json;
use testkit::{Node, Postgres, Redis, needs};

use super::{
    Administrator, PASSWORD, assert_leads, cookie,
    crowds::{attempt, count, hashes},
    form, make, with,
};
use crate::{
    api::exchange::{assert_page, assert_problem, assert_status, from_browser, send, unlimited},
    keys::create,
};

#[tokio::test]
async fn a_client_has_ten_attempts_a_minute_at_one_link() {
    let builder = unlimited();
    let node = builder.start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    make(&client, "other", json!({})).await;
    let ticket = cookie(&client, "/cave").await;
    for left in (0..9).rev() {
        let answer = send(form(&client, "/cave", "wheat")).await;
        assert_problem(&answer, 403, &format!("{left} left"));
        // Both policies are announced, and the one that is nearer to refusing in the older headers.
        let policies = answer.header("ratelimit-policy").expect("policies");
        assert!(policies.contains("\"default\";q=100000;w=60"), "{policies}");
        assert!(
            policies.contains("\"link-password\";q=10;w=60"),
            "{policies}"
        );
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
        assert_eq!(answer.header("retry-after"), None);
    }
    // Not even with the right one.
    let answer = send(form(&client, "/cave", PASSWORD)).await;
    assert_problem(&answer, 429, "the eleventh");
    assert!((1..=60).contains(&answer.number("retry-after")));
    assert_eq!(answer.header("set-cookie"), None);
    let page = send(from_browser(form(&client, "/cave", PASSWORD))).await;
    assert_page(&page, 429, "in a browser");
    assert!(page.body.contains("type=\"password\""), "{}", page.body);
    let outcomes = async |outcome: &str| {
        let labels = [
            "policy=\"link-password\"",
            &format!("outcome=\"{outcome}\""),
        ];
        node.metric("shunt_limiter_decisions_total", &labels).await
    };
    assert_eq!(
        [outcomes("admitted").await, outcomes("refused").await],
        [10.0, 2.0]
    );
    // Visitors with a cookie, other links, other clients and the owner go on.
    assert_leads(&with(&client, "/cave", &ticket).await, "a cookie");
    cookie(&client, "/other").await;
    cookie(&node.client_at([127, 0, 0, 2]), "/cave").await;
    let key = create(&builder, "phone", &[]);
    let with_key = form(&client, "/cave", PASSWORD).bearer_auth(key);
    assert_status(&send(with_key).await, 303, "a key is a client of its own");
    let admin = Administrator::of(&node, &builder);
    admin.change("cave", json!({ "password": "new" })).await;
    let answer = send(form(&client, "/cave", "new")).await;
    assert_status(&answer, 303, "a new password has attempts of its own");
}

#[tokio::test]
async fn two_nodes_count_the_attempts_together() {
    needs!("redis-server", "postgres");
    let redis = Redis::start().await;
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .redis(&redis)
        .postgres(&database)
        // If a busy machine stalls, the nodes must not begin to count for themselves.
        .set("limiter.redis.timeout", "10s");
    let nodes = [builder.start().await, builder.start().await];
    let clients = [nodes[0].client(), nodes[1].client()];
    make(&clients[0], "cave", json!({})).await;
    let admin = Administrator::of(&nodes[0], &builder);
    let further = json!({ "code": "grotto" });
    let answer = admin
        .send(reqwest::Method::POST, "links/cave/codes", further)
        .await;
    assert_status(&answer, 200, "a further code");
    // By every code of the link.
    let paths = ["/cave", "/grotto"];
    let attempts = (0..64).map(|n| attempt(&clients[n % 2], paths[n / 2 % 2], "wheat"));
    let answers = join_all(attempts).await;
    // On a slow machine, it may not be the turn of an attempt in time.
    let late = [
        hashes(&nodes[0], "too_late").await,
        hashes(&nodes[1], "too_late").await,
    ];
    let late: usize = late.iter().sum();
    assert_eq!(
        [count(&answers, 403), count(&answers, 429)],
        [10 - late, 54 + late]
    );
    // A cookie of one node is one of the other.
    let ticket = cookie(&nodes[0].client_at([127, 0, 0, 2]), "/cave").await;
    assert_leads(&with(&clients[1], "/cave", &ticket).await, "the other node");
}

#[tokio::test]
async fn without_a_limit_and_for_exempt_clients_there_is_no_bound() {
    for (key, value) in [
        ("limiter.enabled", "false"),
        ("limiter.exempt", "127.0.0.0/8"),
    ] {
        let node = Node::builder().set(key, value).start().await;
        let client = node.client();
        make(&client, "cave", json!({})).await;
        for _ in 0..15 {
            let answer = send(form(&client, "/cave", "wheat")).await;
            assert_problem(&answer, 403, key);
            assert_eq!(answer.header("ratelimit-policy"), None, "{key}");
        }
    }
}

/// With `allow`, all other requests are unlimited then.
#[tokio::test]
async fn attempts_are_counted_whatever_holds_while_redis_is_away() {
    needs!("redis-server");
    for on_failure in ["allow", "local", "split"] {
        let mut redis = Redis::start().await;
        let node = Node::builder()
            .set("limiter.quota", "100000/minute")
            .redis(&redis)
            .set("limiter.on_redis_failure", on_failure)
            .start()
            .await;
        let client = node.client();
        make(&client, "cave", json!({})).await;
        redis.kill();
        for _ in 0..10 {
            let answer = send(form(&client, "/cave", "wheat")).await;
            assert_problem(&answer, 403, on_failure);
        }
        let answer = send(form(&client, "/cave", PASSWORD)).await;
        assert_problem(&answer, 429, on_failure);
        assert_eq!(answer.header("set-cookie"), None, "{on_failure}");
    }
}
