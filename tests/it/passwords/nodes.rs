//! What one node changes counts on another that remembers the link.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Node, Postgres, needs, within};

use super::{
    Administrator, PASSWORD, TARGET, assert_asks, assert_leads, cookie, form, ticket, with,
};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

/// Within this time a change counts everywhere.
const HEARD: Duration = Duration::from_secs(2);

/// The status of the link, once the node remembers it.
async fn remembered(node: &Node, client: &Client, cookie: &str) -> u16 {
    let hits = async || {
        let labels = ["result=\"hit\""];
        node.metric("shunt_cache_lookups_total", &labels).await
    };
    within(HEARD, "the link is remembered", async || {
        let before = hits().await;
        let answer = with(client, "/cave", cookie).await;
        (hits().await > before).then_some(answer.status.as_u16())
    })
    .await
}

#[tokio::test]
async fn a_password_that_is_set_changed_or_removed_on_one_node_counts_on_the_other() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database).set("cache.ttl", "1day");
    let (a, b) = (builder.start().await, builder.start().await);
    b.becomes("shunt_cache_watching", 1.0).await;
    let (admin, client) = (Administrator::of(&a, &builder), b.client());
    let body = json!({ "url": TARGET, "alias": "cave" });
    let made = admin.send(reqwest::Method::POST, "links", body).await;
    assert_status(&made, 201, "made");
    // It answers so, from memory, before the change and after it.
    let becomes = async |password: Value, cookie: &str, before: u16, after: u16| {
        assert_eq!(remembered(&b, &client, cookie).await, before, "{password}");
        admin.change("cave", json!({ "password": password })).await;
        within(HEARD, &password.to_string(), async || {
            let answer = with(&client, "/cave", cookie).await;
            (answer.status == after).then_some(())
        })
        .await;
        assert_eq!(remembered(&b, &client, cookie).await, after, "{password}");
    };
    becomes(json!(PASSWORD), "", 302, 401).await;
    let first = cookie(&client, "/cave").await;
    becomes(json!("other"), &first, 302, 401).await;
    let answer = send(form(&client, "/cave", PASSWORD)).await;
    assert_problem(&answer, 403, "the old password");
    let answer = send(form(&client, "/cave", "other")).await;
    assert_status(&answer, 303, "the new password");
    let second = ticket(&answer);
    assert_leads(&with(&client, "/cave", &second).await, "a new cookie");
    becomes(json!(null), "", 401, 302).await;
    becomes(json!(PASSWORD), "", 302, 401).await;
    for old in [&first, &second] {
        assert_asks(&with(&client, "/cave", old).await, "an old cookie");
    }
}
