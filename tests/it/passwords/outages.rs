//! The database is away.

use serde_json::json;
use testkit::{Postgres, eventually, needs};

use super::{PASSWORD, assert_asks, assert_leads, cookie, form, make, with};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

/// As with any link: what the node remembers goes on working, and whose visits are counted cannot be followed.
#[tokio::test]
async fn a_link_with_a_password_that_the_node_remembers_works_without_the_database() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("cache.ttl", "1day")
        .set("database.timeout", "1s");
    let node = builder.start().await;
    node.becomes("shunt_cache_watching", 1.0).await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    make(&client, "once", json!({ "max_visits": 1 })).await;
    let once = cookie(&client, "/once").await;
    let ticket = cookie(&client, "/cave").await;
    let hits = async || {
        node.metric("shunt_cache_lookups_total", &["result=\"hit\""])
            .await
    };
    eventually("the link is remembered", async || {
        let before = hits().await;
        assert_leads(&with(&client, "/cave", &ticket).await, "before");
        (hits().await > before).then_some(())
    })
    .await;
    postgres.kill();
    assert_asks(&client.get("/cave").await, "without a cookie");
    assert_leads(
        &with(&client, "/cave", &ticket).await,
        "with the old cookie",
    );
    let ticket = cookie(&client, "/cave").await;
    assert_leads(&with(&client, "/cave", &ticket).await, "with a new cookie");
    assert_problem(&send(form(&client, "/cave", "wheat")).await, 403, "wrong");
    for answer in [
        with(&client, "/once", &once).await,
        send(form(&client, "/once", PASSWORD)).await,
        client.get("/cave+").await,
    ] {
        assert_problem(&answer, 503, "the database is needed");
        assert_eq!(answer.number("retry-after"), 1);
    }
    postgres.restart().await;
    eventually("the database is back", async || {
        (with(&client, "/once", &once).await.status == 302).then_some(())
    })
    .await;
    assert_status(&client.get("/once").await, 410, "that was the only visit");
}
