//! What becomes of requests about keys that are sent again, that come in pages, or that outlive their key.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Node, NodeBuilder, RawConnection, eventually};

use super::{
    Api, TARGET,
    keys::{secret, with},
    on_both,
};
use crate::{
    api::exchange::{assert_problem, assert_status, raw_status, send, unlimited},
    keys::look_ups,
};

on_both!(
    a_request_with_a_number_never_hits_another_key,
    a_list_comes_in_pages,
    what_a_key_asked_for_is_not_done_once_it_is_revoked,
);

async fn make(root: &Api, name: &str) -> Value {
    let answer = root
        .post("keys", json!({ "name": name, "scopes": ["create"] }))
        .await;
    assert_status(&answer, 201, name);
    answer.json()
}

async fn a_request_with_a_number_never_hits_another_key(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let first = make(&root, "phone").await["key"]["id"].clone();
    let (revoke, rotate) = (
        format!("keys/phone?id={first}"),
        format!("keys/phone/rotate?id={first}"),
    );
    assert_status(&root.post(&rotate, Value::Null).await, 200, "its number");
    for what in ["the first time", "sent again"] {
        assert_status(&root.delete(&revoke).await, 204, what);
    }
    let gone = root.post(&rotate, Value::Null).await;
    assert_problem(&gone, 404, "a revoked key has no secret");
    assert_problem(&root.delete("keys/phone?id=999999").await, 404, "no key");

    let second = with(&secret(&make(&root, "phone").await), &root);
    assert_status(&root.delete(&revoke).await, 204, "it is revoked still");
    let taken = root.post(&rotate, Value::Null).await;
    let error = assert_problem(&taken, 409, "another key has the name");
    assert_eq!(error, "Another key has that name now");
    assert_problem(&root.delete("keys/phone?id=999999").await, 409, "no such");
    for query in ["id=", "id=x", "id=1.5", "id=99999999999999999999"] {
        let error = root.delete(&format!("keys/phone?{query}")).await;
        let error = assert_problem(&error, 422, query);
        assert!(error.contains("`id`"), "{error}");
    }
    for query in ["id=1&id=1", "name=phone"] {
        let answer = root.delete(&format!("keys/phone?{query}")).await;
        assert_problem(&answer, 400, query);
    }
    assert_status(&second.get("me").await, 200, "the other key still works");
}

async fn a_list_comes_in_pages(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    for name in ["d", "b", "a", "c.d-e"] {
        make(&root, name).await;
    }
    root.delete("keys/b").await;
    let whole = root.get("keys?all").await.json();
    assert_eq!(whole["keys"].as_array().map(Vec::len), Some(5), "{whole}");
    assert_eq!(whole["next"], Value::Null);
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    for (length, is_last) in [(2, false), (2, false), (1, true)] {
        let page = root.get(&format!("keys?all&limit=2{cursor}")).await.json();
        let part = page["keys"].as_array().expect("keys");
        assert_eq!(part.len(), length, "{page}");
        keys.extend(part.iter().cloned());
        assert_eq!(page["next"].is_null(), is_last, "{page}");
        let next = page["next"].as_str().unwrap_or_default();
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(keys), whole["keys"]);
    // Exactly one page.
    let page = root.get("keys?all&limit=5").await.json();
    assert_eq!(page, whole);
}

/// Whoever holds a stolen key could otherwise keep a request open with the last byte missing, and make another key with
/// it after the operator has revoked the first one.
async fn what_a_key_asked_for_is_not_done_once_it_is_revoked(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    root.make("link", json!({})).await;
    let before = root.link("link").await;
    for (number, (method, path, body)) in [
        (
            Method::POST,
            "/api/v1/keys",
            json!({ "name": "more", "scopes": ["admin"] }),
        ),
        (
            Method::POST,
            "/api/v1/links",
            json!({ "url": TARGET, "alias": "late" }),
        ),
        (
            Method::POST,
            "/api/v1/links/bulk",
            json!({ "links": [{ "url": TARGET, "alias": "late" }] }),
        ),
        (
            Method::POST,
            "/shorten",
            json!({ "url": TARGET, "alias": "late" }),
        ),
        (
            Method::PATCH,
            "/api/v1/links/link",
            json!({ "title": "Late" }),
        ),
        (
            Method::POST,
            "/api/v1/links/link/codes",
            json!({ "code": "late" }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("stolen-{number}");
        let body = body.to_string();
        let made = json!({ "name": name, "scopes": ["admin"] });
        let stolen = secret(&root.post("keys", made).await.json());
        let asked = look_ups(&node).await;
        let mut connection = RawConnection::open(node.address()).await;
        let (start, end) = body.split_at(body.len() - 1);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {stolen}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{start}",
            body.len()
        );
        connection.send(head.as_bytes()).await;
        eventually("the node knows the key", async || {
            (look_ups(&node).await > asked).then_some(())
        })
        .await;
        let revoked = root.delete(&format!("keys/{name}")).await;
        assert_status(&revoked, 204, &name);
        connection.send(end.as_bytes()).await;
        let mut answer = String::new();
        while let Some(part) = connection.receive(std::time::Duration::from_secs(15)).await {
            assert!(!part.is_empty(), "no answer: {path}");
            answer += &part;
        }
        assert_eq!(raw_status(&answer), 401, "{method} {path}: {answer}");
    }
    assert_eq!(root.link("link").await, before);
    assert_problem(&root.get("links/late").await, 404, "no link was made");
    assert_problem(&root.get("keys/more").await, 404, "no key was made");
}

#[tokio::test]
async fn a_key_pasted_in_place_of_a_name_is_no_key() {
    let builder = unlimited();
    let node: Node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let path = format!("keys/{}", root.key);
    let answer = send(root.request(Method::DELETE, &path)).await;
    let error = assert_problem(&answer, 404, "a key");
    assert_eq!(error, "There is no such key");
    assert!(!answer.body.contains("shunt_"), "{answer:?}");
    assert_status(&root.get("me").await, 200, "it still works");
}
