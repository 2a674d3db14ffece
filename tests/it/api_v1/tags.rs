//! Tags get another name, and are taken away.

use serde_json::{Value, json};
use testkit::NodeBuilder;

use super::{Api, on_both};
use crate::api::exchange::{assert_problem, assert_status, unlimited};

on_both!(
    a_tag_gets_another_name_and_becomes_one_with_another,
    a_tag_of_many_links_is_changed_in_parts,
);

async fn a_tag_gets_another_name_and_becomes_one_with_another(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    let root = Api::of(&node, &builder, "root", "admin");
    anna.make("one", json!({ "tags": ["first", "old/1", "last"] }))
        .await;
    anna.make("two", json!({ "tags": ["new", "old/1"] })).await;
    anna.make("deleted", json!({ "tags": ["old/1"] })).await;
    assert_status(&anna.delete("links/deleted").await, 204, "deleted");
    bert.make("berts", json!({ "tags": ["old/1"] })).await;

    let version = anna.get("links/one").await;
    let renamed = anna.patch("tags/old%2F1", json!({ "name": " new " })).await;
    assert_status(&renamed, 200, "renamed");
    assert_eq!(renamed.json(), json!({ "links": 3, "done": true }));
    assert_eq!(
        anna.link("one").await["tags"],
        json!(["first", "new", "last"])
    );
    assert_eq!(anna.link("two").await["tags"], json!(["new"]));
    assert_eq!(anna.link("deleted").await["tags"], json!(["new"]));
    assert_eq!(
        bert.link("berts").await["tags"],
        json!(["old/1"]),
        "another owner's"
    );
    assert_ne!(
        anna.get("links/one").await.header("etag"),
        version.header("etag")
    );
    let tags = json!({ "tags": [
        { "name": "first", "links": 1 }, { "name": "last", "links": 1 }, { "name": "new", "links": 2 },
    ], "next": null });
    assert_eq!(anna.get("tags").await.json(), tags);
    let page = json!({ "tags": [{ "name": "last", "links": 1 }], "next": "last" });
    assert_eq!(anna.get("tags?limit=1&after=first").await.json(), page);

    let again = anna.patch("tags/old%2F1", json!({ "name": "new" })).await;
    assert_status(&again, 200, "no link has the tag any more");
    assert_eq!(again.json(), json!({ "links": 0, "done": true }));
    let same = anna.patch("tags/new", json!({ "name": "new" })).await;
    assert_eq!(same.json(), json!({ "links": 0, "done": true }));
    let removed = anna.delete("tags/new").await;
    assert_eq!(removed.json(), json!({ "links": 3, "done": true }));
    assert_eq!(anna.link("two").await["tags"], json!([]));
    assert_eq!(anna.link("one").await["tags"], json!(["first", "last"]));

    let berts = root
        .patch("tags/old%2F1?owner=bert", json!({ "name": "x" }))
        .await;
    assert_eq!(berts.json(), json!({ "links": 1, "done": true }));
    let other = anna
        .patch("tags/x?owner=bert", json!({ "name": "y" }))
        .await;
    assert_problem(&other, 403, "another owner's");
    let everybodys = root.delete("tags/x").await;
    assert_eq!(everybodys.json(), json!({ "links": 1, "done": true }));
}

async fn a_tag_of_many_links_is_changed_in_parts(builder: NodeBuilder) {
    let builder = builder.set("limiter.per_key", "100000/minute");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for number in 0..620 {
        anna.make(&format!("link-{number}"), json!({ "tags": ["many"] }))
            .await;
    }
    let mut links = 0;
    for _ in 0..100 {
        let answer = anna.patch("tags/many", json!({ "name": "all" })).await;
        assert_status(&answer, 200, "renamed");
        links += answer.json()["links"].as_u64().expect("a number");
        if answer.json()["done"] == true {
            break;
        }
    }
    assert_eq!(links, 620);
    let tags = json!({ "tags": [{ "name": "all", "links": 620 }], "next": null });
    assert_eq!(anna.get("tags").await.json(), tags);
}

#[tokio::test]
async fn what_is_no_name_of_a_tag_is_refused() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("one", json!({ "tags": ["old"] })).await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "name": null }), 400),
        (json!({ "name": "" }), 400),
        (json!({ "name": 7 }), 400),
        (json!({ "nome": "a" }), 400),
        (json!({ "name": "a,b" }), 422),
        (json!({ "name": "a\u{0}b" }), 422),
        (json!({ "name": "x".repeat(51) }), 422),
        (Value::Null, 400),
    ] {
        let answer = anna.patch("tags/old", body.clone()).await;
        let error = assert_problem(&answer, status, &body.to_string());
        if body.is_object() {
            assert!(error.contains("name") || error.contains("nome"), "{error}");
        }
    }
    for path in ["tags/a%2Cb", "tags/%00", "tags/%FF", "tags/a/b"] {
        assert_problem(&anna.patch(path, json!({ "name": "a" })).await, 404, path);
    }
    assert_problem(&anna.get("tags/old").await, 405, "only PATCH and DELETE");
    assert_eq!(anna.link("one").await["tags"], json!(["old"]));
}
