//! Probes and metrics.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use testkit::{Node, Postgres, Redis, needs};

use super::exchange::{assert_problem, assert_status, from_browser, send, unlimited};

const REQUESTS: &str = "shunt_http_requests_total";
const DECISIONS: &str = "shunt_limiter_decisions_total";

#[tokio::test]
async fn livez_says_that_the_process_lives() {
    let node = Node::embedded().await;
    let answer = node.probe().get("/livez").await;
    assert_status(&answer, 200, "/livez");
    assert_eq!(answer.json(), json!({ "status": "alive" }));
}

#[tokio::test]
async fn readyz_has_one_entry_per_dependency() {
    let up = json!({ "status": "up" });
    let node = Node::embedded().await;
    let answer = node.probe().get("/readyz").await;
    assert_status(&answer, 200, "/readyz");
    let expected = json!({ "status": "ready", "dependencies": { "sqlite": up } });
    assert_eq!(answer.json(), expected);

    needs!("postgres", "redis-server");
    let (database, redis) = (
        Postgres::shared_by_tests().await.database().await,
        Redis::start().await,
    );
    let node = Node::builder()
        .postgres(&database)
        .redis(&redis)
        .start()
        .await;
    let answer = node.probe().get("/readyz").await;
    assert_status(&answer, 200, "/readyz");
    let expected = json!({ "status": "ready", "dependencies": { "postgres": up, "redis": up } });
    assert_eq!(answer.json(), expected);
}

/// Every line that is not a comment has a name, labels and a number.
#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let node = Node::embedded().await;
    node.client().get("/").await;
    let answer = node.probe().get("/metrics").await;
    assert_status(&answer, 200, "/metrics");
    let content_type = answer.header("content-type").unwrap();
    assert!(
        content_type.starts_with("text/plain; version=0.0.4"),
        "{content_type}"
    );
    let mut families = BTreeSet::new();
    for line in answer.body.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(name.starts_with("shunt_"), "{line}");
        assert!(labels.ends_with('}'), "{line}");
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        let family = family.unwrap_or(name);
        assert!(answer.body.contains(&format!("# TYPE {family} ")), "{line}");
        assert!(answer.body.contains(&format!("# HELP {family} ")), "{line}");
        families.insert(family);
    }
    for family in [
        REQUESTS,
        DECISIONS,
        "shunt_http_request_duration_seconds",
        "shunt_cache_lookups_total",
        "shunt_store_duration_seconds",
    ] {
        assert!(families.contains(family), "no {family}: {families:?}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let node = unlimited().start().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    client.shorten("example.com").await;
    for path in [
        "/",
        &format!("/{code}"),
        &format!("/{code}"),
        "/Ab3xY9",
        "/a/b",
    ] {
        client.get(path).await;
    }
    for (method, path) in [
        ("HEAD", "/"),
        ("DELETE", "/shorten"),
        ("BREW", "/"),
        ("PROPFIND", "/x"),
    ] {
        send(client.request(method.parse().unwrap(), path)).await;
    }
    for (route, method, status, count) in [
        ("shorten", "POST", "200", 1.0),
        ("shorten", "POST", "422", 1.0),
        ("home", "GET", "200", 1.0),
        ("home", "HEAD", "200", 1.0),
        ("follow", "GET", "302", 2.0),
        ("follow", "GET", "404", 1.0),
        ("other", "GET", "404", 1.0),
        ("other", "DELETE", "405", 1.0),
        ("other", "other", "405", 2.0),
    ] {
        let labels = [
            &*format!("route=\"{route}\""),
            &format!("method=\"{method}\""),
            &format!("status=\"{status}\""),
        ];
        assert_eq!(node.metric(REQUESTS, &labels).await, count, "{labels:?}");
    }
    assert_eq!(node.metric(REQUESTS, &[]).await, 11.0);
    let observed = node
        .metric("shunt_http_request_duration_seconds_count", &[])
        .await;
    assert_eq!(observed, 11.0);
    let text = node.probe().get("/metrics").await.body;
    for made_up in ["BREW", "PROPFIND", "Ab3xY9", &code] {
        assert!(
            !text.contains(made_up),
            "anybody could make the metrics grow: {made_up}"
        );
    }
}

#[tokio::test]
async fn decisions_are_counted_by_outcome() {
    let node = Node::builder()
        .set("limiter.quota", "3/minute")
        .set("limiter.exempt", "127.0.0.9")
        .start()
        .await;
    for _ in 0..5 {
        node.client().get("/").await;
        node.client_at([127, 0, 0, 9]).get("/").await;
    }
    for (outcome, count) in [("admitted", 3.0), ("refused", 2.0)] {
        let labels = [
            "policy=\"default\"",
            &*format!("outcome=\"{outcome}\""),
            "source=\"local\"",
        ];
        assert_eq!(node.metric(DECISIONS, &labels).await, count, "{outcome}");
    }
    assert_eq!(
        node.metric(DECISIONS, &[]).await,
        5.0,
        "none for exempt clients"
    );
    assert_eq!(node.metric(REQUESTS, &["status=\"429\""]).await, 2.0);
    assert_eq!(node.metric(REQUESTS, &["status=\"200\""]).await, 8.0);
}

#[tokio::test]
async fn the_two_listeners_share_no_route() {
    let node = unlimited().start().await;
    let client = node.client();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_problem(&client.get(path).await, 404, path);
        let answer = send(from_browser(client.request(Method::GET, path))).await;
        assert!(!answer.body.contains("shunt_"), "{path}: {answer:?}");
    }
    let code = client.shorten("https://example.com/").await.code();
    let probe = node.probe();
    for path in ["/", "/shorten", &format!("/{code}")] {
        let answer = probe.get(path).await;
        assert_status(&answer, 404, path);
        assert_eq!(answer.header("location"), None, "{path}");
    }
    assert_status(
        &probe.shorten("https://example.com/").await,
        404,
        "POST /shorten",
    );
}

#[tokio::test]
async fn management_is_never_limited() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .start()
        .await;
    let probe = node.probe();
    for _ in 0..50 {
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = probe.get(path).await;
            assert_status(&answer, 200, path);
            assert_eq!(answer.header("ratelimit-policy"), None, "{path}");
        }
    }
    // The same address has all of its quota on the public listener.
    let client = node.client();
    for status in [200, 429] {
        assert_status(&client.get("/").await, status, "in public");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_status(&probe.get(path).await, 200, "over the quota in public");
    }
}
