//! Keys are made, listed, rotated and revoked, by administrators only.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Node, NodeBuilder, Postgres, eventually, execute, needs};
use tokio::time::timeout;

use super::{Api, on_both};
use crate::{
    api::exchange::{FORM, JSON, assert_problem, assert_status, send, unlimited},
    keys::{
        create,
        end::{assert_soon_invalid, two_nodes_that_know},
        keys, unknown,
    },
};

on_both!(
    a_key_is_made_listed_rotated_and_revoked,
    a_name_is_given_once_however_many_ask,
    what_is_wrong_is_refused_by_name_and_no_key_is_made,
);

/// Somebody with this key.
pub(super) fn with(key: &str, api: &Api) -> Api {
    Api {
        client: api.client.clone(),
        key: key.to_owned(),
    }
}

pub(super) fn secret(answer: &Value) -> String {
    let secret = answer["secret"].as_str().expect("a key");
    assert!(secret.starts_with("shunt_"), "{answer}");
    secret.to_owned()
}

/// That a key which was just made lives for so many seconds.
fn assert_lives(key: &Value, seconds: i64) {
    let time = |name: &str| {
        let time = humantime::parse_rfc3339(key[name].as_str().expect("a time"));
        let since = time.expect("RFC 3339").duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs() as i64
    };
    let life = time("expires_at") - time("created_at");
    // Both times are cut to whole seconds.
    assert!((life - seconds).abs() <= 1, "{key}");
}

/// What the API lists, which is what the command lists.
async fn listed(api: &Api, builder: &NodeBuilder) -> Vec<Value> {
    let answer = api.get("keys?all=true").await;
    assert_status(&answer, 200, "the list");
    let command = keys(builder, &["list", "--all", "--json"]);
    let command: Value = serde_json::from_str(&command).expect("JSON");
    assert_eq!(answer.json(), json!({ "keys": command, "next": null }));
    command.as_array().expect("an array").clone()
}

async fn a_key_is_made_listed_rotated_and_revoked(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let body = json!({
        "name": "phone", "scopes": ["stats", "create"], "owner": "anna", "expires_in": "90d", "quota": "5 per hour",
    });
    let made = root.post("keys", body).await;
    assert_status(&made, 201, "a key");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let (first, key) = (secret(&made.json()), made.json()["key"].clone());
    let time = |name: &str| key[name].as_str().expect("a time").to_owned();
    let expected = json!({
        "id": key["id"], "name": "phone", "owner": "anna", "scopes": ["create", "stats"], "quota": "5/hour",
        "created_at": time("created_at"), "expires_at": time("expires_at"), "state": "working",
    });
    assert_eq!(key, expected);
    assert_lives(&key, 90 * 86_400);
    assert_eq!(made.header("location"), Some("/api/v1/keys/phone"));
    assert_eq!(root.get("keys/phone").await.json(), key);
    let phone = with(&first, &root);
    let me = json!({ "owner": "anna", "key": "phone", "scopes": ["create", "stats"], "quota": "5/hour" });
    assert_eq!(phone.get("me").await.json(), me, "it works");

    // A form, and nothing but what must be given.
    let form = [("name", "plain"), ("scopes", "manage")];
    let made = send(root.request(Method::POST, "keys").form(&form)).await;
    assert_status(&made, 201, "a form");
    let plain = made.json()["key"].clone();
    let given = [&plain["owner"], &plain["quota"], &plain["expires_at"]];
    assert_eq!(given, [&json!("default"), &Value::Null, &Value::Null]);
    let listing = listed(&root, &builder).await;
    assert_eq!(listing.len(), 3);
    for (name, hour) in [("number", json!(3_600)), ("text", json!("3600"))] {
        let body = json!({ "name": name, "scopes": ["create"], "expires_in": hour });
        assert_lives(&root.post("keys", body).await.json()["key"], 3_600);
        assert_status(&root.delete(&format!("keys/{name}")).await, 204, name);
    }
    assert_eq!(listing[0], key);
    let annas = root.get("keys?owner=anna").await;
    assert_eq!(annas.json(), json!({ "keys": [key], "next": null }));
    let head = send(root.request(Method::HEAD, "keys")).await;
    assert_status(&head, 200, "HEAD");
    assert_eq!(head.body, "");

    let rotated = root.post("keys/phone/rotate", Value::Null).await;
    assert_status(&rotated, 200, "rotated");
    assert_eq!(rotated.header("cache-control"), Some("no-store"));
    let second = secret(&rotated.json());
    assert_ne!(second, first);
    assert_eq!(rotated.json()["key"]["id"], key["id"]);
    assert_problem(&phone.get("me").await, 401, "the old secret");
    let phone = with(&second, &root);
    assert_eq!(phone.get("me").await.json(), me, "the new secret");

    let revoked = root.delete("keys/phone").await;
    assert_status(&revoked, 204, "revoked");
    assert_problem(&phone.get("me").await, 401, "a revoked key");
    for (method, path) in [
        (Method::DELETE, "keys/phone"),
        (Method::POST, "keys/phone/rotate"),
        (Method::DELETE, "keys/tablet"),
        (Method::GET, "keys/phone"),
        (Method::GET, "keys/my%20phone"),
        (Method::POST, "keys/my%20phone/rotate"),
    ] {
        let error = assert_problem(&send(root.request(method, path)).await, 404, path);
        assert_eq!(error, "There is no such key");
    }
    let working = root.get("keys").await.json();
    let names: Vec<_> = working["keys"].as_array().expect("keys").iter().collect();
    assert_eq!(names.len(), 2, "{working}");
    let states = listed(&root, &builder).await;
    let phone = states.iter().find(|key| key["name"] == "phone");
    assert_eq!(phone.expect("it is listed")["state"], "revoked");
    // Its name is free.
    let again = json!({ "name": "phone", "scopes": "create" });
    assert_status(&root.post("keys", again).await, 201, "the same name");

    // Also the key that is used, which then is dead like any other.
    assert_status(&root.delete("keys/root").await, 204, "its own");
    assert_problem(&root.get("keys").await, 401, "its own");
    let everything = format!("{listing:?}{working}");
    for secret in [&first, &second, &root.key] {
        assert!(!everything.contains(secret.as_str()), "{everything}");
    }
    assert!(!everything.contains("sha256"), "{everything}");
}

async fn a_name_is_given_once_however_many_ask(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let asked = (0..12).map(|_| {
        let root = root.clone();
        let body = json!({ "name": "phone", "scopes": ["create"] });
        tokio::spawn(async move { root.post("keys", body).await })
    });
    let mut made = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        let answer = answer.await.expect("no panic");
        if answer.status == 201 {
            made.push(secret(&answer.json()));
        } else {
            let error = assert_problem(&answer, 409, "the name");
            assert!(error.starts_with("A key of that name exists"), "{error}");
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(listed(&root, &builder).await.len(), 2);
    let rotations = (0..4).map(|_| {
        let root = root.clone();
        tokio::spawn(async move { root.post("keys/phone/rotate", Value::Null).await })
    });
    for answer in rotations.collect::<Vec<_>>() {
        let answer = answer.await.expect("no panic");
        assert_status(&answer, 200, "a rotation");
        made.push(secret(&answer.json()));
    }
    let mut working = 0;
    for secret in &made {
        working += usize::from(with(secret, &root).get("me").await.status == 200);
    }
    assert_eq!(working, 1, "the last rotation counts");
}

async fn what_is_wrong_is_refused_by_name_and_no_key_is_made(builder: NodeBuilder) {
    let node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let before = listed(&root, &builder).await;
    let long = "x".repeat(65);
    for (field, value, status) in [
        ("name", Value::Null, 400),
        ("name", json!(""), 400),
        ("name", json!(7), 400),
        ("name", json!("my phone"), 422),
        ("name", json!(long), 422),
        ("name", json!(".."), 422),
        ("name", json!(unknown()), 422),
        ("name", json!("."), 422),
        ("scopes", Value::Null, 400),
        ("scopes", json!([]), 422),
        ("scopes", json!(""), 422),
        ("scopes", json!(["create", "fly"]), 422),
        ("scopes", json!([1]), 400),
        ("scopes", json!({ "create": true }), 400),
        ("owner", json!("anna bell"), 422),
        ("owner", json!(long), 422),
        ("owner", json!(""), 422),
        ("expires_in", json!(""), 422),
        ("quota", json!(" "), 422),
        ("owner", json!([]), 400),
        ("expires_in", json!(0), 422),
        ("expires_in", json!(-5), 422),
        ("expires_in", json!("11y"), 422),
        ("expires_in", json!(99_999_999_999_999_999_999_f64), 422),
        ("expires_in", json!(true), 400),
        ("quota", json!("many"), 422),
        ("quota", json!("0/minute"), 422),
        ("quota", json!("1000001/minute"), 422),
        ("quota", json!("99999999999999999999/minute"), 422),
        ("quota", json!("1/367d"), 422),
        ("quota", json!(600), 400),
        ("scope", json!("create"), 400),
        ("id", json!(1), 400),
    ] {
        let mut body = json!({ "name": "phone", "scopes": ["create"] });
        body[field] = value.clone();
        let answer = root.post("keys", body).await;
        let error = assert_problem(&answer, status, field);
        assert!(error.contains(&format!("`{field}`")), "{value}: {error}");
        assert!(!error.contains("shunt_"), "{error}");
    }
    for (content_type, body, status) in [
        (JSON, "", 400),
        (JSON, "[]", 400),
        (
            JSON,
            r#"{"name": "a", "name": "b", "scopes": "create"}"#,
            400,
        ),
        (FORM, "scopes=create&name=%ff", 400),
        (FORM, "name=phone&scopes=create&owner=", 422),
        (FORM, "name=phone&scopes=create&expires_in=", 422),
        (FORM, "name=phone&scopes=create&quota=", 422),
        (FORM, "name=phone&scopes=create&owner=anna+x", 422),
        ("text/plain", "name=phone&scopes=create", 415),
    ] {
        let request = root.request(Method::POST, "keys").body(body);
        let answer = send(request.header("content-type", content_type)).await;
        assert_problem(&answer, status, body);
    }
    let plus = root.get("keys?owner=anna+x").await;
    let error = assert_problem(&plus, 422, "a plus sign");
    assert!(error.ends_with("write `+` as `%2B`"), "{error}");
    let encoded = root.get("keys?owner=anna%2Bx").await;
    assert_status(&encoded, 200, "encoded");
    let many = json!({ "name": "phone", "scopes": ["create"], "owner": "x".repeat(33 << 10) });
    assert_problem(&root.post("keys", many).await, 413, "too large");
    for (query, named) in [
        ("all=perhaps", "all"),
        ("owner=anna%20bell", "owner"),
        ("state=revoked", "state"),
        ("all=1", "all"),
        ("all=true&all=true", "all"),
        ("all=&all=true", "all"),
        ("owner=", "owner"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("cursor=phone", "cursor"),
        ("cursor=1-", "cursor"),
        ("cursor=1-a&cursor=1-b", "cursor"),
        ("%ff", "query"),
    ] {
        let answer = root.get(&format!("keys?{query}")).await;
        assert!(answer.status == 400 || answer.status == 422, "{answer:?}");
        let error = assert_problem(&answer, answer.status.as_u16(), query);
        assert!(error.contains(named), "{error}");
    }
    assert_eq!(listed(&root, &builder).await, before);
}

/// Otherwise a key could make itself more powerful.
#[tokio::test]
async fn only_administrators_manage_keys() {
    let builder = unlimited();
    let node = builder.start().await;
    let most = Api::of(&node, &builder, "anna", "create,manage,stats");
    let root = Api::of(&node, &builder, "root", "admin");
    let before = listed(&root, &builder).await;
    let more = json!({ "name": "more", "scopes": ["admin"], "owner": "anna" });
    for (method, path, body) in [
        (Method::GET, "keys", Value::Null),
        (Method::POST, "keys", more),
        (Method::POST, "keys/anna/rotate", Value::Null),
        (Method::DELETE, "keys/anna", Value::Null),
        (Method::DELETE, "keys/unknown", Value::Null),
    ] {
        let what = format!("{method} {path}");
        let answer = send(most.request(method.clone(), path).json(&body)).await;
        let error = assert_problem(&answer, 403, &what);
        assert!(error.ends_with("admin"), "{error}");
        let without = node.client().request(method, &format!("/api/v1/{path}"));
        assert_problem(&send(without.json(&body)).await, 401, &what);
    }
    assert_eq!(listed(&root, &builder).await, before);
    assert_status(&most.get("me").await, 200, "as before");
}

#[tokio::test]
async fn other_nodes_hear_of_what_becomes_of_a_key() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    for (number, method) in [Method::POST, Method::DELETE].into_iter().enumerate() {
        let (phone, admin) = (format!("phone-{number}"), format!("root-{number}"));
        let key = create(&builder, &phone, &[]);
        let nodes = two_nodes_that_know(&builder, &key).await;
        let root = Api::of(&nodes[0], &builder, &admin, "admin");
        let path = match method {
            Method::POST => format!("keys/{phone}/rotate"),
            _ => format!("keys/{phone}"),
        };
        let answer = send(root.request(method, &path)).await;
        assert!(answer.status.is_success(), "{answer:?}");
        let own = with(&key, &root).get("me").await;
        assert_problem(&own, 401, "this node rejects it at once");
        assert_soon_invalid(&nodes, &key).await;
    }
}

/// Whatever happens to the database, the answer comes soon, and says whether to ask again.
#[tokio::test]
async fn while_the_database_stores_nothing_no_key_is_changed_by_halves() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let builder = unlimited().postgres(&database);
    let node: Node = builder.start().await;
    let root = Api::of(&node, &builder, "root", "admin");
    let mut secrets = Vec::new();
    for name in ["revoked", "rotated"] {
        let made = json!({ "name": name, "scopes": ["create"] });
        secrets.push(secret(&root.post("keys", made).await.json()));
    }
    // Others may read, and whoever writes waits.
    let mut psql = database.connect().await;
    execute(&mut psql, "BEGIN").await;
    execute(&mut psql, "LOCK TABLE keys IN SHARE MODE").await;
    let tablet = json!({ "name": "tablet", "scopes": ["create"] });
    for (method, path, body) in [
        (Method::POST, "keys", tablet),
        (Method::DELETE, "keys/revoked", Value::Null),
        (Method::POST, "keys/rotated/rotate", Value::Null),
    ] {
        let request = root.request(method.clone(), path).json(&body);
        let answer = timeout(Duration::from_secs(15), send(request)).await;
        let answer = answer.expect("it does not wait for the lock");
        assert_problem(&answer, 503, &format!("{method} {path}"));
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        for key in &secrets {
            assert_status(&with(key, &root).get("me").await, 200, "look-ups go on");
        }
    }
    execute(&mut psql, "ROLLBACK").await;
    // What was sent before is done by now, or never will be.
    let made = eventually("keys can be made again", async || {
        let last = json!({ "name": "last", "scopes": ["create"] });
        let answer = root.post("keys", last).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    secrets.push(secret(&made.json()));
    let states = listed(&root, &builder).await;
    let state_of = |name: &str| {
        let key = states.iter().find(|key| key["name"] == name);
        key.map(|key| key["state"].clone())
    };
    for (key, name) in secrets.iter().zip(["revoked", "rotated", "last"]) {
        let works = with(key, &root).get("me").await.status == 200;
        let state = state_of(name).expect("it is listed");
        // The secret of a rotation that no answer brought is lost, and the old one is dead then.
        let agrees = works == (state == "working") || name == "rotated";
        assert!(agrees, "{name}: {works}, {state}");
    }
    if state_of("tablet").is_none() {
        let tablet = json!({ "name": "tablet", "scopes": ["create"] });
        assert_status(&root.post("keys", tablet).await, 201, "the name is free");
    }
}
