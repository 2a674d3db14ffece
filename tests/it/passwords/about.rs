//! `GET /<code>+`: what everybody may know of a link.

use futures_util::{StreamExt, stream::FuturesUnordered};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Client, NodeBuilder, Postgres, eventually, execute, needs};

use super::{Administrator, PASSWORD, TARGET, cookie, on_both};
use crate::api::exchange::{
    assert_page, assert_problem, assert_status, from_browser, send, unlimited,
};

on_both!(
    a_link_is_shown_with_its_title_and_where_it_leads,
    the_target_is_shown_only_if_everybody_is_led_there,
    links_that_no_longer_work_say_so,
    a_link_that_has_not_started_is_unknown,
);

async fn make(client: &Client, alias: &str, fields: Value) {
    let mut body = json!({ "url": TARGET, "alias": alias, "title": "Jewels <& more>" });
    let (members, more) = (body.as_object_mut(), fields.as_object());
    let members = members.expect("an object");
    members.extend(more.expect("an object").clone());
    let request = client.request(Method::POST, "/shorten").json(&body);
    assert_eq!(send(request).await.code(), alias);
}

async fn shown(client: &Client, code: &str) -> Value {
    let answer = client.get(&format!("/{code}+")).await;
    assert_status(&answer, 200, code);
    answer.json()
}

async fn a_link_is_shown_with_its_title_and_where_it_leads(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let more = json!({ "note": "a note", "tags": ["a-tag"], "redirect": 301 });
    make(&client, "cave", more).await;
    let answer = client.get("/cave+").await;
    assert_status(&answer, 200, "a program");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-robots-tag"), Some("noindex"));
    assert_eq!(answer.header("vary"), Some("Accept"));
    let mut about = answer.json();
    let created = about["created_at"].take();
    let created = created.as_str().expect("a time").to_owned();
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created}"
    );
    let short_url = format!("http://{}/cave", node.address());
    let expected = json!({
        "code": "cave", "short_url": short_url, "title": "Jewels <& more>", "created_at": null,
        "works": true, "needs_password": false, "counts_visits": false, "url": TARGET,
    });
    assert_eq!(about, expected);
    let page = send(from_browser(client.request(Method::GET, "/cave+"))).await;
    assert_page(&page, 200, "a browser");
    for part in [
        "<h1>Jewels &#60;&#38; more&#62;</h1>",
        &format!("href=\"{short_url}\""),
        "leads to https://treasure.example/cave?jewels=1",
        &created[..10],
        "less than a minute ago",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    // The target is text: another program may have written any scheme to the table.
    assert!(
        !page.body.contains("href=\"https://treasure"),
        "{}",
        page.body
    );
    for part in ["a note", "a-tag", "<script", "<form"] {
        assert!(!page.body.contains(part), "{part}: {}", page.body);
        assert!(!answer.body.contains(part), "{part}: {}", answer.body);
    }
    let head = send(client.request(Method::HEAD, "/cave+")).await;
    assert_status(&head, 200, "HEAD");
    // Without a title.
    make(&client, "plain", json!({ "title": null })).await;
    assert_eq!(shown(&client, "plain").await["title"], Value::Null);
    let page = send(from_browser(client.request(Method::GET, "/plain+"))).await;
    assert!(
        page.body.contains("<h1>About this link</h1>"),
        "{}",
        page.body
    );
}

async fn the_target_is_shown_only_if_everybody_is_led_there(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    make(&client, "locked", json!({ "password": PASSWORD })).await;
    make(&client, "counted", json!({ "max_visits": 1 })).await;
    for (code, needs_password, counts_visits) in [("locked", true, false), ("counted", false, true)]
    {
        // Looking is no visit, and a cookie for the link is none for this page.
        for _ in 0..3 {
            let about = shown(&client, code).await;
            assert_eq!(about["url"], Value::Null, "{code}");
            assert_eq!(about["works"], true, "{code}");
            assert_eq!(about["needs_password"], needs_password, "{code}");
            assert_eq!(about["counts_visits"], counts_visits, "{code}");
        }
        let path = format!("/{code}+");
        let page = send(from_browser(client.request(Method::GET, &path))).await;
        assert_page(&page, 200, code);
        for answer in [&page, &client.get(&path).await] {
            assert!(!answer.body.contains("treasure"), "{}", answer.body);
            assert!(
                !format!("{:?}", answer.headers).contains("treasure"),
                "{code}"
            );
        }
    }
    assert_eq!(
        client.get("/counted").await.header("location"),
        Some(TARGET)
    );
    let ticket = cookie(&client, "/locked").await;
    assert_eq!(
        super::with(&client, "/locked+", &ticket).await.json()["url"],
        Value::Null
    );
}

async fn links_that_no_longer_work_say_so(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    let fallback = json!({ "expires_in": 1, "fallback_url": "https://example.com/over" });
    make(&client, "expired", fallback).await;
    make(&client, "used-up", json!({ "max_visits": 1 })).await;
    make(&client, "deleted", json!({})).await;
    make(&client, "disabled", json!({ "enabled": false })).await;
    assert_status(&client.get("/used-up").await, 302, "the only visit");
    let deleted = admin.send(Method::DELETE, "links/deleted", json!({})).await;
    assert_status(&deleted, 204, "deleted");
    eventually("the link expires", async || {
        (shown(&client, "expired").await["works"] == false).then_some(())
    })
    .await;
    for (code, has_title) in [
        ("expired", true),
        ("used-up", true),
        ("deleted", false),
        ("disabled", false),
    ] {
        let about = shown(&client, code).await;
        assert_eq!(about["works"], false, "{code}");
        assert_eq!(about["url"], Value::Null, "{code}");
        assert_eq!(about["title"].is_string(), has_title, "{code}");
        let path = format!("/{code}+");
        let page = send(from_browser(client.request(Method::GET, &path))).await;
        assert_page(&page, 200, code);
        assert!(
            page.body.contains("This link no longer works"),
            "{}",
            page.body
        );
        assert_eq!(page.body.contains("Jewels"), has_title, "{}", page.body);
        assert!(!page.body.contains("example.com/over"), "{}", page.body);
    }
}

async fn a_link_that_has_not_started_is_unknown(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let starts = json!({ "starts_at": "2035-01-01T00:00:00Z" });
    make(&client, "early", starts).await;
    for path in ["/early+", "/unknown+", "/unknown_+", "/+", "/a/b+"] {
        assert_problem(&client.get(path).await, 404, path);
    }
    let page = send(from_browser(client.request(Method::GET, "/early+"))).await;
    assert_page(&page, 404, "a browser");
}

#[tokio::test]
async fn every_spelling_is_understood_and_no_other_method() {
    let node = unlimited().start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    for path in [
        "/cave+",
        "/cave%2B",
        "/%63ave%2b/",
        "/cave+/",
        "/cave+).",
        "/cave_+",
        "/cave+?a",
    ] {
        let answer = client.get(path).await;
        assert_status(&answer, 200, path);
        assert_eq!(answer.json()["code"], "cave", "{path}");
    }
    for path in ["/cave++", "/cave+x", "/cave%252B", "/cave/+"] {
        assert_problem(&client.get(path).await, 404, path);
    }
    for method in [Method::POST, Method::DELETE] {
        let answer = send(client.request(method, "/cave+")).await;
        assert_problem(&answer, 405, "another method");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

/// However often somebody asks about it.
#[tokio::test]
async fn an_unknown_code_is_remembered_and_not_asked_about_again() {
    let node = unlimited().set("cache.miss_ttl", "1m").start().await;
    node.becomes("shunt_cache_watching", 1.0).await;
    let client = node.client();
    let queries = async |operation: &str| {
        let label = format!("operation=\"{operation}\"");
        node.metric("shunt_store_duration_seconds_count", &[&label])
            .await
    };
    for _ in 0..5 {
        assert_problem(&client.get("/unknown+").await, 404, "unknown");
    }
    assert_eq!(queries("show").await, 0.0);
    assert_eq!(queries("resolve").await, 1.0);
    make(&client, "unknown", json!({})).await;
    assert_eq!(shown(&client, "unknown").await["works"], true);
}

#[tokio::test]
async fn those_who_ask_about_links_leave_connections_to_others() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let node = builder
        .set("cache.ttl", "1day")
        .set("database.timeout", "30s")
        .start()
        .await;
    node.becomes("shunt_cache_watching", 1.0).await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    eventually("the link is remembered", async || {
        client.get("/cave").await;
        let remembered = node.metric("shunt_cache_entries", &["kind=\"link\""]).await;
        (remembered == 1.0).then_some(())
    })
    .await;
    let mut holder = database.connect().await;
    execute(&mut holder, "BEGIN").await;
    execute(&mut holder, "LOCK TABLE urls IN ACCESS EXCLUSIVE MODE").await;
    let mut asks: FuturesUnordered<_> = (0..10).map(|_| client.get("/cave+")).collect();
    for _ in 0..6 {
        let answer = asks.next().await.expect("an answer");
        let error = assert_problem(&answer, 503, "too many");
        assert!(error.contains("Too many"), "{error}");
        assert_eq!(answer.number("retry-after"), 5);
    }
    execute(&mut holder, "ROLLBACK").await;
    while let Some(answer) = asks.next().await {
        assert_status(&answer, 200, "it has waited");
    }
}

#[tokio::test]
async fn looking_at_a_link_is_a_request_like_any_other() {
    let node = testkit::Node::builder()
        .set("limiter.quota", "2/minute")
        .start()
        .await;
    let client = node.client();
    make(&node.client_at([127, 0, 0, 2]), "cave", json!({})).await;
    for left in [1, 0] {
        let answer = client.get("/cave+").await;
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
    }
    assert_problem(&client.get("/cave+").await, 429, "over the quota");
}
