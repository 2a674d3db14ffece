//! What is changed, under which condition, and that redirects follow at once.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, NodeBuilder};

use super::{Api, TARGET, on_both, to};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

on_both!(
    only_what_is_given_changes_and_null_removes,
    redirects_follow_a_change_at_once,
    a_change_of_what_is_no_more_is_refused,
    of_two_people_who_change_one_version_one_is_told,
);

async fn only_what_is_given_changes_and_null_removes(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let mut expected = anna.make("link", json!({ "title": "A title" })).await;
    for change in [
        json!({ "url": "https://example.org/" }),
        json!({ "title": "Another" }),
        json!({ "note": "A note", "tags": ["a", "b"] }),
        json!({ "max_visits": 5, "redirect": 301 }),
        json!({ "expires_at": "2031-01-01T00:00:00Z" }),
        json!({ "fallback_url": "https://example.com/over", "forward_query": true }),
        json!({ "note": null, "tags": null, "title": null }),
        json!({ "max_visits": null, "expires_at": null, "fallback_url": null, "forward_query": false }),
        json!({}),
    ] {
        let changed = anna.change("link", change.clone()).await;
        for (name, value) in change.as_object().expect("an object") {
            expected[name] = match name.as_str() {
                "tags" if value.is_null() => json!([]),
                _ => value.clone(),
            };
        }
        assert_eq!(changed, expected, "{change}");
        assert_eq!(anna.link("link").await, expected, "{change}");
    }
    let merge = anna.request(Method::PATCH, "links/link");
    let merge = merge.header("content-type", "application/merge-patch+json");
    let answer = send(merge.body(r#"{"redirect": null}"#)).await;
    assert_status(&answer, 200, "a merge patch");
    assert_eq!(answer.json()["redirect"], 302);
}

async fn redirects_follow_a_change_at_once(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    anna.post("links/link/codes", json!({ "code": "further" }))
        .await;
    let gone = (410, None);
    let unknown = (404, None);
    let other = "https://example.org/";
    for (change, expected) in [
        (json!({ "url": other }), to(other)),
        (json!({ "enabled": false }), gone.clone()),
        (json!({ "enabled": true }), to(other)),
        (json!({ "starts_at": "2031-01-01T00:00:00Z" }), unknown),
        (json!({ "starts_at": null }), to(other)),
        (json!({ "max_visits": 1 }), to(other)),
        (json!({}), gone),
        (json!({ "max_visits": null }), to(other)),
        (json!({ "redirect": 308 }), (308, Some(other.to_owned()))),
        (json!({ "redirect": null, "url": TARGET }), to(TARGET)),
    ] {
        anna.change("link", change.clone()).await;
        let uses_up = change.get("max_visits") == Some(&json!(1));
        // The node remembers each of them, but for a link whose visits are limited.
        for code in ["further", "link"].into_iter().skip(usize::from(uses_up)) {
            for _ in 0..if uses_up { 1 } else { 2 } {
                assert_eq!(anna.leads(code).await, expected, "{change} {code}");
            }
        }
    }
}

/// Sends a change under conditions.
async fn change_if(api: &Api, tags: &[&str], title: &str) -> Answer {
    let mut request = api.request(Method::PATCH, "links/link");
    for tag in tags {
        request = request.header("if-match", *tag);
    }
    send(request.json(&json!({ "title": title }))).await
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("an entity tag").to_owned()
}

async fn a_change_of_what_is_no_more_is_refused(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({ "max_visits": 100 })).await;
    let first = tag(&anna.get("links/link").await);
    // A visit changes the tag, and yet the change goes through.
    assert_eq!(anna.leads("link").await, to(TARGET));
    let visited = anna.get("links/link").await;
    assert_eq!(visited.json()["visits"], 1);
    assert_ne!(tag(&visited), first);
    let second = change_if(&anna, &[&first], "second").await;
    assert_status(&second, 200, "the version that it is");
    let second = tag(&second);
    for tags in [
        &[&*first][..],
        &["\"x\""],
        &[""],
        &["x"],
        &["W/\"x\", \"y\""],
    ] {
        let refused = change_if(&anna, tags, "refused").await;
        assert_problem(&refused, 412, &format!("{tags:?}"));
    }
    assert_eq!(anna.link("link").await["title"], "second");
    let weak = format!("W/{second}");
    let third = change_if(&anna, &[&first, &weak], "third").await;
    assert_status(&third, 200, "one of several versions, made weak by a proxy");
    let any = change_if(&anna, &["*"], "fourth").await;
    assert_status(&any, 200, "any version");
    // All other edits have conditions too.
    for (method, path, body) in [
        (Method::DELETE, "links/link", Value::Null),
        (Method::POST, "links/link/restore", Value::Null),
        (
            Method::POST,
            "links/link/codes",
            json!({ "code": "further" }),
        ),
        (Method::DELETE, "links/link/codes/further", Value::Null),
    ] {
        let request = anna.request(method, path).header("if-match", &first);
        assert_problem(&send(request.json(&body)).await, 412, path);
    }

    let now = anna.get("links/link").await;
    let known = anna.request(Method::GET, "links/link");
    let known = send(known.header("if-none-match", tag(&now))).await;
    assert_status(&known, 304, "what the client has");
    assert_eq!(known.header("cache-control"), Some("private, no-cache"));
    assert_eq!((known.body.as_str(), tag(&known)), ("", tag(&now)));
    assert_eq!(anna.leads("link").await, to(TARGET));
    let known = anna.request(Method::GET, "links/link");
    let known = send(known.header("if-none-match", tag(&now))).await;
    assert_status(&known, 200, "it has been visited since");
    assert_eq!(known.json()["visits"], 2);
}

async fn of_two_people_who_change_one_version_one_is_told(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    for round in 0..5 {
        let before = tag(&anna.get("links/link").await);
        let before = [before.as_str()];
        let titles = [format!("left {round}"), format!("right {round}")];
        let (left, right) = tokio::join!(
            change_if(&anna, &before, &titles[0]),
            change_if(&anna, &before, &titles[1]),
        );
        let mut statuses = [left.status.as_u16(), right.status.as_u16()];
        let done = usize::from(statuses[0] != 200);
        assert_eq!(anna.link("link").await["title"], titles[done]);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
    }
}

#[tokio::test]
async fn a_form_is_no_change() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    let form = anna.request(Method::PATCH, "links/link");
    let answer = send(form.form(&[("title", "a")])).await;
    assert_problem(&answer, 415, "a form");
}
