//! The previous release beside this one, on one database, as in a rolling upgrade. `make upgrade-test` builds the previous
//! release, and says with `SHUNT_TEST_PREVIOUS` where it is.

use std::{collections::BTreeMap, env, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use testkit::{Node, NodeBuilder, Postgres, eventually, within};

use crate::{
    api::exchange::{assert_status, post_form, send, unlimited},
    api_v1::Api,
};

const TARGET: &str = "https://example.com/";

/// Postgres tells nodes of changes, and a node asks SQLite every second. A busy machine may stall for a while.
const HEARD: Duration = Duration::from_secs(10);

#[tokio::test]
#[ignore = "needs the previous release: make upgrade-test"]
async fn releases_work_side_by_side_on_sqlite() {
    side_by_side(unlimited()).await;
}

#[tokio::test]
#[ignore = "needs the previous release: make upgrade-test"]
async fn releases_work_side_by_side_on_postgres() {
    let database = Postgres::shared_by_tests().await.database().await;
    side_by_side(unlimited().postgres(&database)).await;
}

async fn side_by_side(builder: NodeBuilder) {
    // Looked up again for a reason alone, and not because time has passed.
    let builder = builder.set("cache.ttl", "1day");
    let previous = env::var("SHUNT_TEST_PREVIOUS").expect("the path of the previous release");
    let former = builder.clone().program(previous);

    let old = start(&former).await;
    let before = make(&old, &[("url", "https://example.com/before")]).await;
    make(
        &old,
        &[("url", TARGET), ("alias", "twice"), ("max_visits", "2")],
    )
    .await;
    let new = start(&builder).await;
    let (old_client, new_client) = (old.client(), new.client());

    // What the previous release has made.
    let visit = async |node: &Node, code: &str| {
        let answer = node.client().get(&format!("/{code}")).await;
        answer.status.as_u16()
    };
    assert_eq!(visit(&new, &before).await, 302);
    assert_eq!(visit(&new, "twice").await, 302);
    assert_eq!(visit(&old, "twice").await, 302);
    assert_eq!(
        (visit(&new, "twice").await, visit(&old, "twice").await),
        (410, 410)
    );

    // One URL has one code, whoever is asked first; but no code of an owner's link.
    let again = new_client
        .shorten("https://example.com/before")
        .await
        .code();
    assert_eq!(again, before);
    let after = new_client.shorten("https://example.com/after").await.code();
    assert_eq!(
        old_client.shorten("https://example.com/after").await.code(),
        after
    );
    let anna = Api::of(&new, &builder, "anna", "create,manage");
    let admin = Api::of(&new, &builder, "root", "create,manage,admin");
    let own = anna
        .post("links", json!({ "url": "https://example.com/own" }))
        .await;
    assert_status(&own, 201, "a link of an owner");
    let shared = old_client.shorten("https://example.com/own").await.code();
    assert_ne!(shared, own.json()["code"]);

    // What the previous release must not open looks expired to it, from the first look on.
    for (code, fields) in [
        ("disabled", json!({ "enabled": false })),
        ("scheduled", json!({ "starts_at": "2031-01-01T00:00:00Z" })),
        ("deleted", json!({})),
    ] {
        anna.make(code, fields).await;
    }
    assert_status(&anna.delete("links/deleted").await, 204, "deleted");
    anna.make(
        "plain",
        json!({ "title": "A title", "tags": ["a"], "note": "b" }),
    )
    .await;
    let further = json!({ "code": "further" });
    assert_status(
        &anna.post("links/plain/codes", further).await,
        200,
        "a further code",
    );
    for code in ["disabled", "scheduled", "deleted", "further"] {
        within(HEARD, code, async || {
            (visit(&old, code).await == 410).then_some(())
        })
        .await;
    }
    assert_eq!(visit(&old, "plain").await, 302);
    assert_eq!(visit(&new, "further").await, 302);

    // A link that the previous release remembers.
    for (code, change) in [
        ("remembered-1", json!({ "enabled": false })),
        (
            "remembered-2",
            json!({ "starts_at": "2031-01-01T00:00:00Z" }),
        ),
        (
            "remembered-3",
            json!({ "url": "https://example.com/other" }),
        ),
    ] {
        make(&old, &[("url", TARGET), ("alias", code)]).await;
        assert_eq!(visit(&old, code).await, 302);
        let change_is_a_target = change["url"].is_string();
        admin.change(code, change).await;
        within(HEARD, code, async || {
            let answer = old_client.get(&format!("/{code}")).await;
            let location = answer.header("location");
            let follows = if change_is_a_target {
                location == Some("https://example.com/other")
            } else {
                answer.status == 410
            };
            follows.then_some(())
        })
        .await;
    }
    // Enabled again, it works again.
    admin
        .change("remembered-1", json!({ "enabled": true }))
        .await;
    within(HEARD, "enabled", async || {
        (visit(&old, "remembered-1").await == 302).then_some(())
    })
    .await;

    // Visits are counted together, exactly.
    anna.make("five", json!({ "max_visits": 5 })).await;
    let visits = (0..200).map(|number| visit(if number % 2 == 0 { &old } else { &new }, "five"));
    let mut statuses = BTreeMap::new();
    for status in join_all(visits).await {
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(302, 5), (410, 195)]));

    // And back: the previous release starts on the new tables.
    drop(old);
    let old = start(&former).await;
    assert_eq!(visit(&old, &before).await, 302);
    assert_eq!(visit(&old, "disabled").await, 410);
    make(
        &old,
        &[("url", TARGET), ("alias", "late"), ("expires_in", "1h")],
    )
    .await;
    assert_eq!(visit(&new, "late").await, 302);
}

/// Starts a node, and waits until it hears of changes.
async fn start(builder: &NodeBuilder) -> Node {
    let node = builder.start().await;
    eventually("the node hears of changes", async || {
        let watching = node.metric("shunt_cache_watching", &[]).await;
        (watching == 1.0).then_some(())
    })
    .await;
    node
}

/// Makes a link with `POST /shorten`, and returns its code.
async fn make(node: &Node, fields: &[(&str, &str)]) -> String {
    let answer = send(post_form(&node.client(), fields)).await;
    assert_status(&answer, 200, "a new link");
    answer.code()
}
