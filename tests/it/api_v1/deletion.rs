//! Links are deleted, restored, and their aliases taken again.

use reqwest::Method;
use serde_json::json;
use testkit::{NodeBuilder, eventually};

use super::{Api, TARGET, on_both, to};
use crate::api::exchange::{assert_problem, assert_status, send};

on_both!(
    a_deleted_link_leads_nowhere_until_it_is_restored,
    after_a_while_a_deleted_link_cannot_be_restored,
    a_node_that_starts_removes_what_was_deleted_long_ago,
    a_dead_alias_is_taken_again_by_its_owner_alone,
);

async fn a_deleted_link_leads_nowhere_until_it_is_restored(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({ "title": "A title" })).await;
    assert_eq!(anna.leads("link").await, to(TARGET));
    for _ in 0..2 {
        let deleted = anna.delete("links/link").await;
        assert_status(&deleted, 204, "deleted");
        assert_eq!(deleted.body, "");
        assert_eq!(anna.leads("link").await, (410, None));
        let link = anna.link("link").await;
        assert_eq!(link["state"], "deleted");
        assert!(link["deleted_at"].is_string(), "{link}");
    }
    for (method, path, body) in [
        (Method::PATCH, "links/link", json!({ "title": "a" })),
        (
            Method::POST,
            "links/link/codes",
            json!({ "code": "further" }),
        ),
        (Method::DELETE, "links/link/codes/further", json!({})),
    ] {
        let refused = send(anna.request(method, path).json(&body)).await;
        let error = assert_problem(&refused, 409, path);
        assert!(error.contains("restore"), "{error}");
    }
    for _ in 0..2 {
        // A body means nothing here, and does not end the connection.
        let restored = anna.post("links/link/restore", json!({})).await;
        assert_status(&restored, 200, "restored");
        assert_eq!(restored.json()["state"], "active");
        assert_eq!(restored.json()["title"], "A title");
        assert_eq!(anna.leads("link").await, to(TARGET));
    }
}

async fn after_a_while_a_deleted_link_cannot_be_restored(builder: NodeBuilder) {
    let builder = builder.set("links.restore_for", "1ms");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    assert_status(&anna.delete("links/link").await, 204, "deleted");
    eventually("it is too late", async || {
        let answer = anna.post("links/link/restore", json!({})).await;
        if answer.status == 410 {
            assert_problem(&answer, 410, "too late");
            return Some(());
        }
        assert_status(&answer, 200, "in time");
        assert_status(&anna.delete("links/link").await, 204, "deleted");
        None
    })
    .await;
}

async fn a_node_that_starts_removes_what_was_deleted_long_ago(builder: NodeBuilder) {
    let builder = builder.set("links.restore_for", "1ms");
    let mut node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for alias in ["link", "other"] {
        anna.make(alias, json!({})).await;
    }
    anna.post("links/link/codes", json!({ "code": "further" }))
        .await;
    assert_status(&anna.delete("links/link").await, 204, "deleted");
    assert_eq!(anna.leads("further").await, (410, None));
    node.kill();
    let node = builder.start().await;
    let anna = anna.at(&node);
    for code in ["link", "further"] {
        eventually("it is removed", async || {
            (anna.leads(code).await == (404, None)).then_some(())
        })
        .await;
        assert_problem(&anna.get(&format!("links/{code}")).await, 404, code);
    }
    assert_eq!(anna.leads("other").await, to(TARGET));
    node.logged("removed for good", 1).await;
    anna.make("link", json!({})).await;
}

async fn a_dead_alias_is_taken_again_by_its_owner_alone(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    let root = Api::of(&node, &builder, "root", "admin");
    let other = "https://example.org/";
    let again = || json!({ "url": other, "alias": "link" });
    anna.make("link", json!({ "max_visits": 1 })).await;
    anna.post("links/link/codes", json!({ "code": "further" }))
        .await;
    let alive = anna.post("links", again()).await;
    assert_problem(&alive, 409, "it has a visit left");
    assert_eq!(anna.leads("link").await, to(TARGET));
    for code in ["link", "further"] {
        assert_eq!(anna.leads(code).await, (410, None));
    }
    let berts = bert.post("links", again()).await;
    assert_problem(&berts, 409, "another owner");
    let form = [("url", other), ("alias", "link")];
    let nobodys = node.client().request(Method::POST, "/shorten").form(&form);
    assert_problem(&send(nobodys).await, 409, "without a key");
    let annas = anna.post("links", again()).await;
    assert_status(&annas, 201, "the owner");
    assert_eq!(anna.leads("link").await, to(other));
    // It went with the dead link.
    assert_eq!(anna.leads("further").await, (404, None));
    assert_status(&anna.delete("links/link").await, 204, "deleted");
    let roots = root.post("links", again()).await;
    assert_status(&roots, 201, "an administrator");
    assert_eq!(roots.json()["owner"], "root");
    assert_problem(&anna.get("links/link").await, 404, "no longer hers");
}
