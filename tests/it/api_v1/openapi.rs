//! The document of the API, and its readable form.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use shunt::http::openapi_document;
use testkit::{Answer, Node};

use super::Api;
use crate::{
    api::{
        document::resolved,
        exchange::{assert_problem, assert_status, from_browser, send, unlimited},
    },
    keys::unknown,
};

const DOCUMENT: &str = "/api/openapi.json";

const PAGE: &str = "/api/docs";

const API_PAGE: &str = include_str!("../../../docs/api.md");

fn server(answer: &Answer) -> String {
    assert_status(answer, 200, "the document");
    let servers = answer.json()["servers"].clone();
    let url = servers[0]["url"].as_str();
    url.expect("a URL").to_owned()
}

#[tokio::test]
async fn anybody_may_read_the_document_of_the_node_that_they_asked() {
    let node = unlimited().start().await;
    let client = node.client();
    let answer = client.get(DOCUMENT).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(server(&answer), format!("http://{}", node.address()));
    let mut document = answer.json();
    assert!(
        document["openapi"]
            .as_str()
            .expect("a version")
            .starts_with("3.1.")
    );
    document
        .as_object_mut()
        .expect("an object")
        .remove("servers");
    assert_eq!(
        document,
        *openapi_document(),
        "as the tests hold it against answers"
    );

    let named = client
        .request(Method::GET, DOCUMENT)
        .header("host", "sho.rt");
    let named = send(named).await;
    assert_eq!(server(&named), "http://sho.rt");
    let tag = answer.header("etag").expect("a tag");
    assert_ne!(named.header("etag"), Some(tag), "another address");
    let known = client
        .request(Method::GET, DOCUMENT)
        .header("if-none-match", tag);
    let known = send(known).await;
    assert_status(&known, 304, "known");
    assert_eq!((known.header("etag"), known.body.as_str()), (Some(tag), ""));
    let head = send(client.request(Method::HEAD, DOCUMENT)).await;
    assert_status(&head, 200, "HEAD");
    assert_eq!((head.header("etag"), head.body.as_str()), (Some(tag), ""));
    assert_status(&client.get("/api/openapi.json/").await, 200, "a slash");

    let answer = send(client.request(Method::GET, DOCUMENT).header("host", "a@b")).await;
    assert_problem(&answer, 400, "no host");
    let answer = send(client.request(Method::POST, DOCUMENT).body("x")).await;
    assert_problem(&answer, 405, "POST");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    let wrong = client.request(Method::GET, DOCUMENT).bearer_auth(unknown());
    assert_problem(&send(wrong).await, 401, "a key that is not valid");
}

#[tokio::test]
async fn the_document_names_the_address_that_was_asked_or_the_one_that_a_proxy_names() {
    let node = unlimited()
        .set("http.public_url", "https://sho.rt/s")
        .start()
        .await;
    assert_eq!(
        server(&node.client().get(DOCUMENT).await),
        format!("http://{}", node.address()),
        "short links may have an address that leads to no API"
    );
    let node = unlimited()
        .set("http.trusted_proxies", "127.0.0.1")
        .start()
        .await;
    let request = node.client().request(Method::GET, DOCUMENT);
    let request = request
        .header("host", "sho.rt")
        .header("x-forwarded-proto", "https");
    assert_eq!(server(&send(request).await), "https://sho.rt");
}

/// What a browser accepts in a link is more than what RFC 3986 allows, and the document must not say otherwise.
#[tokio::test]
async fn the_document_holds_for_targets_that_are_no_uris() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for (number, url) in [
        "https://example.com/?a[]=1|{x}",
        "https://b\u{fc}cher.example/stra\u{df}e",
        "  https://example.com/a b ",
    ]
    .into_iter()
    .enumerate()
    {
        let alias = format!("unusual-{number}");
        let body = json!({ "url": url, "alias": alias, "fallback_url": url });
        assert_status(&anna.post("links", body).await, 201, url);
        let form = [
            ("url", url),
            ("fallback_url", url),
            ("expires_at", "2030-12-31T18:00:00 01:00"),
            ("starts_at", ""),
            ("max_visits", " 5 "),
            ("title", ""),
        ];
        let request = anna.client.request(Method::POST, "/shorten").form(&form);
        assert_status(&send(request).await, 200, url);
    }
}

#[tokio::test]
async fn the_document_counts_like_any_request() {
    let node = Node::builder()
        .set("limiter.quota", "2/minute")
        .start()
        .await;
    for _ in 0..2 {
        assert_status(&node.client().get(DOCUMENT).await, 200, "within the quota");
    }
    assert_problem(&node.client().get(DOCUMENT).await, 429, "over the quota");
}

/// Calls `visit` with every value of the document.
fn each(value: &'static Value, visit: &mut impl FnMut(&'static Value)) {
    visit(value);
    match value {
        Value::Object(members) => members.values().for_each(|value| each(value, visit)),
        Value::Array(values) => values.iter().for_each(|value| each(value, visit)),
        _ => {}
    }
}

#[test]
fn the_document_is_complete_in_itself_and_in_the_documentation() {
    let document = openapi_document();
    let (mut references, mut descriptions) = (0, 0);
    each(document, &mut |value| {
        references += usize::from(value["$ref"].is_string());
        for (name, member) in value.as_object().into_iter().flatten() {
            assert!(
                !member.is_null() || name == "example",
                "{name} is null: {value}"
            );
        }
        resolved(value);
        if let Some(properties) = value["properties"].as_object() {
            for (name, schema) in properties {
                let about = schema["description"].as_str();
                assert!(
                    about.is_some_and(|about| !about.is_empty()) || schema["$ref"].is_string(),
                    "{name}"
                );
                descriptions += 1;
            }
            for name in value["required"].as_array().into_iter().flatten() {
                assert!(
                    properties.contains_key(name.as_str().expect("a name")),
                    "{name}"
                );
            }
        }
    });
    assert!(
        references > 100 && descriptions > 50,
        "{references}, {descriptions}"
    );
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let method = method.to_uppercase();
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{id} twice");
            for member in ["summary", "description"] {
                assert!(operation[member].is_string(), "{id}: {member}");
            }
            let named = format!("`{method} {path}`");
            assert!(API_PAGE.contains(&named), "{named} is not in docs/api.md");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let about = &resolved(response)["description"];
                assert!(
                    about.as_str().is_some_and(|about| !about.is_empty()),
                    "{id} {status}"
                );
            }
        }
    }
    // Every link leads to an operation.
    each(document, &mut |value| {
        if let Some(id) = value["operationId"].as_str() {
            assert!(ids.contains(id), "{id}");
        }
    });
}

/// What a request needs is what the document says that it needs.
#[tokio::test]
async fn the_document_says_which_scope_an_operation_needs() {
    let builder = unlimited();
    let node = builder.start().await;
    let mut asked = 0;
    let stats = Api::of(&node, &builder, "stats", "stats");
    for (path, item) in openapi_document()["paths"].as_object().expect("paths") {
        let Some(below) = path.strip_prefix("/api/v1/") else {
            continue;
        };
        let below = below
            .replace("{code}", "any")
            .replace("{other}", "other")
            .replace("{name}", "any");
        for (method, operation) in item.as_object().expect("operations") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let scopes = operation["security"][0]["bearer"]
                .as_array()
                .expect("scopes");
            let answer = send(stats.request(method, &below)).await;
            match scopes.first().and_then(Value::as_str) {
                Some(scope) => {
                    let error = assert_problem(&answer, 403, path);
                    assert!(error.ends_with(scope), "{path}: {error}");
                }
                None => assert_status(&answer, 200, path),
            }
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
}

#[tokio::test]
async fn people_read_it_on_a_page_that_needs_nothing_of_other_sites() {
    let node = unlimited().start().await;
    let client = node.client();
    let answer = send(from_browser(client.request(Method::GET, PAGE))).await;
    assert_status(&answer, 200, "the page");
    let kind = answer.header("content-type").expect("a type");
    assert_eq!(kind, "text/html; charset=utf-8");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("script"),
        "{policy}"
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for foreign in ["<script", "src=", "@import", "url("] {
        assert!(!answer.body.contains(foreign), "{foreign}");
    }
    let own = format!("http://{}", node.address());
    let mut operations = 0;
    for (path, item) in openapi_document()["paths"].as_object().expect("paths") {
        assert!(answer.body.contains(path.as_str()), "{path}");
        for operation in item.as_object().expect("operations").values() {
            let id = operation["operationId"].as_str().expect("an id");
            let (anchor, target) = (format!("href=\"#{id}\""), format!("id=\"{id}\""));
            assert!(
                answer.body.contains(&anchor) && answer.body.contains(&target),
                "{id}"
            );
            operations += 1;
        }
    }
    for (path, document) in [(PAGE, "openapi.json"), ("/api/docs/", "../openapi.json")] {
        let page = client.get(path).await;
        let link = format!("href=\"{document}\"");
        assert!(page.body.contains(&link), "{path}");
    }
    // One command for each, and one for the key; they are for this node.
    assert!(answer.body.matches(&own).count() > operations, "{own}");

    let tag = answer.header("etag").expect("a tag");
    let known = send(
        client
            .request(Method::GET, PAGE)
            .header("if-none-match", tag),
    )
    .await;
    assert_status(&known, 304, "known");
    let answer = send(client.request(Method::DELETE, PAGE)).await;
    assert_problem(&answer, 405, "DELETE");
    assert_problem(&client.get("/api/docs/x").await, 404, "below it");
}
