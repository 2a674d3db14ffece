//! Links are made and shown.

use reqwest::Method;
use serde_json::json;
use testkit::NodeBuilder;

use super::{Api, TARGET, on_both, to};
use crate::api::exchange::{FORM, assert_problem, assert_status, send, unlimited};

on_both!(
    a_link_is_made_with_everything_and_shown_as_it_was_made,
    the_same_url_is_one_link_of_each_owner,
);

async fn a_link_is_made_with_everything_and_shown_as_it_was_made(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let body = json!({
        "url": TARGET, "alias": "launch", "starts_at": "2030-01-01T01:00:00+01:00",
        "expires_at": "2031-12-31T23:59:59Z", "max_visits": 7, "redirect": 307, "forward_query": true,
        "fallback_url": "https://example.com/over", "enabled": false, "title": "A title",
        "note": "one\ntwo", "tags": ["b", "a"],
    });
    let answer = anna.post("links", body).await;
    assert_status(&answer, 201, "a link");
    assert_eq!(answer.header("location"), Some("/api/v1/links/launch"));
    let cache_control = answer.header("cache-control");
    assert_eq!(cache_control, Some("private, no-cache"));
    let link = answer.json();
    let created_at = link["created_at"].as_str().expect("a time").to_owned();
    assert!(
        created_at.ends_with('Z') && created_at.len() == 20,
        "{created_at}"
    );
    let expected = json!({
        "code": "launch", "short_url": format!("http://{}/launch", node.address()), "further_codes": [],
        "url": TARGET, "owner": "anna", "state": "disabled", "created_at": created_at,
        "starts_at": "2030-01-01T00:00:00Z", "expires_at": "2031-12-31T23:59:59Z", "deleted_at": null,
        "max_visits": 7, "visits": 0, "redirect": 307, "forward_query": true,
        "fallback_url": "https://example.com/over", "enabled": false, "has_password": false,
        "title": "A title", "note": "one\ntwo", "tags": ["b", "a"],
    });
    assert_eq!(link, expected);
    let shown = anna.get("links/launch").await;
    assert_eq!(shown.json(), expected);
    assert_eq!(shown.header("etag"), answer.header("etag"));
    let head = send(anna.request(Method::HEAD, "links/launch")).await;
    assert_status(&head, 200, "HEAD");
    assert_eq!(head.header("etag"), answer.header("etag"));
    assert_eq!(head.body, "");
}

async fn the_same_url_is_one_link_of_each_owner(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    let body = || json!({ "url": TARGET });
    let first = anna.post("links", body()).await;
    assert_status(&first, 201, "a new link");
    let again = anna.post("links", body()).await;
    assert_status(&again, 200, "the same link");
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("location"), first.header("location"));
    let berts = bert.post("links", body()).await;
    assert_status(&berts, 201, "another owner's link");
    assert_ne!(berts.json()["code"], first.json()["code"]);
    // Without a key, and with the same key elsewhere.
    let anonymous = node.client().shorten(TARGET).await;
    let request = node.client().request(Method::POST, "/shorten");
    let form = request.form(&[("url", TARGET)]).bearer_auth(&anna.key);
    let annas = send(form).await;
    assert_eq!(annas.code(), first.json()["code"]);
    for code in [berts.json()["code"].clone(), first.json()["code"].clone()] {
        assert_ne!(anonymous.code(), code);
        let code = code.as_str().expect("a code");
        assert_eq!(anna.leads(code).await, to(TARGET));
    }
    // What its owner changes is no longer shared.
    let code = annas.code();
    anna.change(&code, json!({ "url": "https://example.org/" }))
        .await;
    let third = anna.post("links", body()).await;
    assert_status(&third, 201, "a new link");
    assert_ne!(third.json()["code"], code);
}

#[tokio::test]
async fn a_link_is_made_from_a_form_as_well() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let request = anna.request(Method::POST, "links");
    let form = "url=https%3A%2F%2Fexample.com%2F&alias=form&tags=a,b";
    let answer = send(request.header("content-type", FORM).body(form)).await;
    assert_status(&answer, 201, "a form");
    assert_eq!(answer.json()["tags"], json!(["a", "b"]));
    let taken = anna.post("links", json!({ "url": TARGET, "alias": "form" }));
    assert_problem(&taken.await, 409, "an alias that is taken");
}
