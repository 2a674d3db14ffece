//! Whose links a key manages, and what it must allow.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, NodeBuilder};

use super::{Api, on_both, to};
use crate::{
    api::exchange::{assert_problem, assert_status, send, unlimited},
    keys::{create_for, unknown},
};

on_both!(for_an_owner_only_its_own_links_are_there);

/// Every request that concerns a link.
fn requests() -> [(Method, &'static str, Value); 7] {
    [
        (Method::GET, "links/link", Value::Null),
        (Method::PATCH, "links/link", json!({ "title": "a" })),
        (Method::GET, "links/link/codes", Value::Null),
        (
            Method::POST,
            "links/link/codes",
            json!({ "code": "further" }),
        ),
        (Method::DELETE, "links/link/codes/further", Value::Null),
        (Method::DELETE, "links/link", Value::Null),
        (Method::POST, "links/link/restore", Value::Null),
    ]
}

async fn ask(api: &Api, (method, path, body): (Method, &str, Value)) -> Answer {
    let request = api.request(method, path);
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    send(request).await
}

async fn for_an_owner_only_its_own_links_are_there(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    let root = Api::of(&node, &builder, "root", "admin");
    let phone = create_for(&builder, "annas-phone", "manage", &["--owner", "anna"]);
    let phone = Api {
        key: phone,
        ..anna.clone()
    };
    anna.make("link", json!({})).await;
    let unknown = anna.get("links/unknown").await;
    for request in requests() {
        let path = request.1;
        let answer = ask(&bert, request.clone()).await;
        // As if it were not there.
        assert_problem(&answer, 404, path);
        assert_eq!(answer.body, unknown.body, "{path}");
    }
    for api in [&phone, &root] {
        for request in requests() {
            let (method, path) = (request.0.clone(), request.1);
            let answer = ask(api, request).await;
            assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        }
    }
    // A link that was made without a key has no owner, and only an administrator changes it.
    let code = node
        .client()
        .shorten("https://example.com/nobodys")
        .await
        .code();
    let path = format!("links/{code}");
    assert_problem(&anna.get(&path).await, 404, "nobody's");
    let changed = root
        .change(&code, json!({ "url": "https://example.org/" }))
        .await;
    assert_eq!(changed["owner"], Value::Null);
    assert_eq!(root.leads(&code).await, to("https://example.org/"));
}

#[tokio::test]
async fn the_api_needs_a_key_with_the_scope() {
    let builder = unlimited();
    let node = builder.start().await;
    let make = (
        Method::POST,
        "links",
        json!({ "url": "https://example.com/" }),
    );
    let lists = [
        (Method::GET, "links", Value::Null),
        (Method::GET, "tags", Value::Null),
        (Method::PATCH, "tags/a", json!({ "name": "b" })),
        (Method::DELETE, "tags/a", Value::Null),
        (Method::GET, "owners", Value::Null),
    ];
    let all = || [vec![make.clone()], requests().to_vec(), lists.to_vec()].concat();
    for request in all() {
        let (method, path) = (request.0.clone(), request.1);
        let without = node.client().request(method, &format!("/api/v1/{path}"));
        let answer = send(without.json(&request.2)).await;
        let error = assert_problem(&answer, 401, path);
        assert!(error.starts_with("This needs an API key"), "{error}");
    }
    let wrong = Api {
        client: node.client(),
        key: unknown(),
    };
    assert_problem(
        &wrong.get("links/link").await,
        401,
        "a key that is not valid",
    );
    for (scopes, may_create, may_manage) in [
        ("create", true, false),
        ("manage", false, true),
        ("stats", false, false),
        ("admin", true, true),
    ] {
        let api = Api::of(&node, &builder, scopes, scopes);
        for (number, request) in all().into_iter().enumerate() {
            let (needed, may) = match number {
                0 => ("create", may_create),
                _ => ("manage", may_manage),
            };
            let what = format!("{scopes}: {} {}", request.0, request.1);
            let answer = ask(&api, request).await;
            if may {
                assert_ne!(answer.status, 403, "{what}");
            } else {
                let error = assert_problem(&answer, 403, &what);
                assert!(error.ends_with(needed), "{error}");
            }
        }
        assert_status(&api.get("me").await, 200, scopes);
    }
}

#[tokio::test]
async fn a_key_is_told_whose_it_is_and_what_it_may() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "manage,create");
    let answer = anna.get("me").await;
    let expected = json!({
        "owner": "anna", "key": "anna", "scopes": ["create", "manage"], "quota": "600/minute",
    });
    assert_eq!(answer.json(), expected);
    let arguments = ["--owner", "anna", "--quota", "5/hour"];
    let own = create_for(&builder, "slow", "stats", &arguments);
    let own = Api {
        key: own,
        ..anna.clone()
    };
    let answer = own.get("me").await;
    let expected = json!({
        "owner": "anna", "key": "slow", "scopes": ["stats"], "quota": "5/hour",
    });
    assert_eq!(answer.json(), expected);
    assert!(!answer.body.contains(&own.key));
}

/// To make links is less than to manage them: such a key ends no link, and learns nothing of those that there are.
#[tokio::test]
async fn a_key_that_only_makes_links_neither_ends_nor_reads_one() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let phone = Api {
        key: create_for(&builder, "phone", "create", &["--owner", "anna"]),
        ..anna.clone()
    };
    anna.make("launch", json!({ "title": "A title" })).await;
    assert_status(&anna.delete("links/launch").await, 204, "deleted");
    let again = json!({ "url": "https://example.org/", "alias": "launch" });
    assert_problem(
        &phone.post("links", again.clone()).await,
        409,
        "in its place",
    );
    let shorten = phone.client.request(Method::POST, "/shorten");
    let shorten = shorten.bearer_auth(&phone.key).json(&again);
    assert_problem(&send(shorten).await, 409, "in its place");
    let restored = anna.post("links/launch/restore", Value::Null).await;
    assert_eq!(restored.json()["title"], "A title");

    let url = json!({ "url": "https://example.com/shared" });
    let made = phone.post("links", url.clone()).await;
    assert_status(&made, 201, "new");
    let code = made.json()["code"].as_str().expect("a code").to_owned();
    anna.change(&code, json!({ "note": "A secret" })).await;
    let known = phone.post("links", url.clone()).await;
    assert_status(&known, 200, "there already");
    let members: Vec<_> = known
        .json()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(members, ["code", "short_url", "url"]);
    assert_eq!(known.json()["code"], code);
    let known = anna.post("links", url).await;
    assert_eq!(known.json()["note"], "A secret", "for those who may see it");
}
