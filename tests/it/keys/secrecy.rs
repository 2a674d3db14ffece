//! No key is in a log or in a metric.

use reqwest::Method;
use serde_json::Value;
use testkit::{Node, Redis, needs};

use super::{create, create_for, get, home, keys, unknown};
use crate::api::exchange::send;

#[tokio::test]
async fn no_key_is_in_a_log_line_or_a_metric_and_its_name_is_in_the_access_line() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let builder = Node::builder()
        .redis(&redis)
        .set("links.anonymous", "false")
        .set("log.level", "trace");
    let node = builder.start().await;
    let client = node.client();
    let good = create(&builder, "phone", &["--quota", "3/minute"]);
    let stats = create_for(&builder, "reports", "stats", &[]);
    let gone = create(&builder, "gone", &[]);
    keys(&builder, &["revoke", "gone"]);
    let (bad, malformed) = (unknown(), format!("{}x", unknown()));
    let secrets = [&good, &stats, &gone, &bad, &malformed];
    for key in secrets {
        for number in 0..4 {
            send(get(&client, "/no-such-link", key)).await;
            let own = client
                .request(Method::POST, "/shorten")
                .header("x-api-key", key);
            send(own.form(&[("url", format!("https://example.com/{number}"))])).await;
        }
    }
    let last = client
        .request(Method::GET, "/")
        .header("x-request-id", "the-last");
    send(last.bearer_auth(&bad)).await;
    node.logged("the-last", 1).await;
    let lines = node.log_lines("");
    let metrics = node.probe().get("/metrics").await.body;
    assert!(metrics.contains("policy=\"per-key\"") && lines.len() > 40);
    let redis_keys: Vec<String> = redis.command("KEYS *").await;
    for key in secrets {
        // Nor a part of one.
        let part = &key[10..30];
        for text in lines.iter().chain(&redis_keys).chain([&metrics]) {
            assert!(!text.contains(part), "{text}");
        }
    }
    let names = node
        .log_lines("\"request\"")
        .into_iter()
        .filter_map(|line| {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            Some(event["key"].as_str()?.to_owned())
        });
    let names: Vec<_> = names.collect();
    assert!(names.contains(&"phone".to_owned()), "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| ["phone", "reports"].contains(&&**name))
    );
    assert_eq!(home(&client, &bad).await.status, 429, "enough attempts");
}

/// What is made by API is in its answer and nowhere else, and the log says who made it.
#[tokio::test]
async fn a_key_that_is_made_by_api_is_in_its_answer_only() {
    let builder = Node::builder().set("log.level", "trace");
    let node = builder.start().await;
    let client = node.client();
    let root = create_for(&builder, "root", "admin", &[]);
    let ask = async |method, path: &str, id: &str| {
        let body = r#"{"name": "phone", "scopes": ["create"], "owner": "anna"}"#;
        let request = client.request(method, path).bearer_auth(&root).body(body);
        let request = request.header("content-type", "application/json");
        send(request.header("x-request-id", id)).await
    };
    let made = ask(Method::POST, "/api/v1/keys", "made").await.json();
    let rotate = "/api/v1/keys/phone/rotate";
    let rotated = ask(Method::POST, rotate, "rotated").await.json();
    let secret = |answer: &Value| answer["secret"].as_str().expect("a key").to_owned();
    let secrets = [secret(&made), secret(&rotated), root.clone()];
    for key in &secrets {
        // Taken for a name.
        let path = format!("/api/v1/keys/{key}");
        assert_eq!(ask(Method::DELETE, &path, "mistaken").await.status, 404);
    }
    ask(Method::DELETE, "/api/v1/keys/phone", "revoked").await;
    ask(Method::GET, "/api/v1/me", "the-last").await;
    node.logged("the-last", 1).await;
    let lines = node.log_lines("");
    let metrics = node.probe().get("/metrics").await.body;
    for key in &secrets {
        let part = &key[10..30];
        for text in lines.iter().chain([&metrics]) {
            assert!(!text.contains(part), "{text}");
        }
    }
    let noted = node.log_lines("an API key was managed by API");
    let events = noted.iter().map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        for (name, value) in [("key", "phone"), ("owner", "anna"), ("by", "root")] {
            assert_eq!(event[name], value, "{event}");
        }
        assert_eq!(
            (&event["level"], &event["scopes"]),
            (&"INFO".into(), &"create".into())
        );
        assert_eq!(event["id"], made["key"]["id"]);
        event["done"].as_str().expect("a word").to_owned()
    });
    let events: Vec<_> = events.collect();
    assert_eq!(events, ["made", "rotated", "revoked"]);
}
