//! Which route policies and metrics see for a request: its method and its path decide.

use reqwest::Method;
use testkit::{Answer, Node};

use super::exchange::{assert_status, from_browser, send, unlimited};

fn policy(answer: &Answer) -> &str {
    let policy = answer.header("ratelimit-policy").unwrap_or_default();
    policy.split(';').next().unwrap_or_default()
}

/// A policy for each route, with a name as close to the route's as a policy can have.
async fn node_with_a_policy_for_each_route() -> Node {
    let mut node = Node::builder().set("limiter.quota", "1000/minute");
    for (name, route) in [
        ("on-home", "home"),
        ("on-shorten", "shorten"),
        ("on-follow", "follow"),
        ("on-other", "other"),
    ] {
        node = node
            .set(&format!("limiter.policies.{name}.quota"), "1000/minute")
            .set(&format!("limiter.policies.{name}.routes"), route);
    }
    node.start().await
}

/// A page that embeds `/shorten` as a hundred images causes such requests.
#[tokio::test]
async fn asking_for_the_path_of_shortening_uses_up_no_quota_of_shortening() {
    let node = Node::builder()
        .set("limiter.quota", "1000/minute")
        .set("limiter.policies.shorten.quota", "2/day")
        .set("limiter.policies.shorten.routes", "shorten")
        .start()
        .await;
    let client = node.client();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT] {
        for _ in 0..5 {
            let answer = send(client.request(method.clone(), "/shorten")).await;
            assert_status(&answer, 405, "no shortening");
            assert_eq!(policy(&answer), "\"default\"", "{method}");
        }
    }
    for left in [1, 0] {
        let answer = client.shorten("https://example.com/").await;
        assert_status(&answer, 200, "shortening");
        assert_eq!(policy(&answer), "\"shorten\"");
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
    }
    let refused = client.shorten("https://example.com/").await;
    assert_status(&refused, 429, "shortening beyond the quota");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_a_use_of_no_route() {
    let node = node_with_a_policy_for_each_route().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    let link = &*format!("/{code}");
    for (method, path, status, route) in [
        ("GET", "/", 200, "home"),
        ("HEAD", "/", 200, "home"),
        ("POST", "/", 405, "other"),
        ("OPTIONS", "/", 405, "other"),
        ("BREW", "/", 405, "other"),
        ("POST", "/shorten", 415, "shorten"),
        ("GET", "/shorten", 405, "other"),
        ("HEAD", "/shorten", 405, "other"),
        ("DELETE", "/shorten", 405, "other"),
        ("BREW", "/shorten", 405, "other"),
        ("GET", link, 302, "follow"),
        ("HEAD", link, 302, "follow"),
        ("GET", "/Unknown1", 404, "follow"),
        ("POST", link, 405, "other"),
        ("DELETE", link, 405, "other"),
        ("BREW", link, 405, "other"),
        ("GET", "/a/b", 404, "other"),
        ("POST", "/a/b", 404, "other"),
    ] {
        let what = format!("{method} {path}");
        let known = if method == "BREW" { "other" } else { method };
        let labels = [
            &*format!("route=\"{route}\""),
            &*format!("method=\"{known}\""),
            &*format!("status=\"{status}\""),
        ];
        let before = node.metric("shunt_http_requests_total", &labels).await;
        let answer = send(client.request(method.parse().unwrap(), path)).await;
        assert_status(&answer, status, &what);
        assert_eq!(policy(&answer), format!("\"on-{route}\""), "{what}");
        let after = node.metric("shunt_http_requests_total", &labels).await;
        assert_eq!(after, before + 1.0, "{what}: {labels:?}");
    }
}

#[tokio::test]
async fn a_flood_of_wrong_methods_is_under_the_default_quota() {
    let node = Node::builder()
        .set("limiter.quota", "3/minute")
        .set("limiter.policies.all-known.quota", "1000/minute")
        .set("limiter.policies.all-known.routes", "home, shorten, follow")
        .start()
        .await;
    for (address, method, path) in [
        (1, "GET", "/shorten"),
        (2, "POST", "/"),
        (3, "DELETE", "/Ab3xY9"),
        (4, "POST", "/favicon.ico"),
    ] {
        let client = node.client_at([127, 0, 4, address]);
        for status in [405, 405, 405, 429, 429] {
            let answer = send(client.request(method.parse().unwrap(), path)).await;
            assert_status(&answer, status, &format!("{method} {path}"));
        }
    }
}

#[tokio::test]
async fn a_browser_that_opens_the_path_of_shortening_is_shown_the_form() {
    let node = unlimited().start().await;
    let request = node.client().request(Method::GET, "/shorten");
    let answer = send(from_browser(request)).await;
    assert_status(&answer, 405, "GET /shorten");
    assert!(answer.body.contains("action=\"shorten\""), "{answer:?}");
}
