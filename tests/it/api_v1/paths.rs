//! Unknown paths, other methods, other spellings; headers that every answer has.

use reqwest::Method;
use serde_json::json;
use testkit::Node;

use super::{Api, TARGET};
use crate::api::exchange::{assert_problem, assert_status, from_browser, send, unlimited};

#[tokio::test]
async fn what_is_not_there_is_a_problem_even_for_a_browser() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for path in [
        "",
        "link",
        "links/",
        "links/a.b",
        "links/a/b",
        "links/a/codes/b/c",
        "me/me",
        "links/a//codes",
        "../v1/x",
    ] {
        let path = format!("/api/v1/{path}");
        for method in [Method::GET, Method::POST, Method::PUT] {
            let request = anna.client.request(method.clone(), &path);
            let answer = send(from_browser(request)).await;
            // reqwest itself resolves `..` and `links/` has another meaning.
            let expected = match (path.as_str(), &method) {
                ("/api/v1/links/", &Method::GET | &Method::POST) => 401,
                ("/api/v1/links/", _) => 405,
                _ => 404,
            };
            assert_problem(&answer, expected, &format!("{method} {path}"));
        }
    }
    for path in ["/api/v2/links", "/api/x", "/api/v1", "/API/v1/links"] {
        let answer = anna.client.get(path).await;
        assert_status(&answer, 404, path);
    }
}

#[tokio::test]
async fn another_method_is_told_which_there_are() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for (method, path, allowed) in [
        (Method::DELETE, "links", "GET, HEAD, POST"),
        (Method::GET, "tags/a", "PATCH, DELETE"),
        (Method::POST, "owners", "GET, HEAD"),
        (Method::PUT, "links/link", "GET, HEAD, PATCH, DELETE"),
        (Method::POST, "links/link", "GET, HEAD, PATCH, DELETE"),
        (Method::GET, "links/link/restore", "POST"),
        (Method::DELETE, "links/link/codes", "GET, HEAD, POST"),
        (Method::GET, "links/link/codes/other", "DELETE"),
        (Method::POST, "me", "GET, HEAD"),
        (Method::PUT, "keys/phone", "GET, HEAD, DELETE"),
        (Method::OPTIONS, "me", "GET, HEAD"),
    ] {
        let what = format!("{method} {path}");
        let answer = send(anna.request(method, path).json(&json!({}))).await;
        assert_problem(&answer, 405, &what);
        assert_eq!(answer.header("allow"), Some(allowed), "{what}");
    }
}

#[tokio::test]
async fn other_spellings_are_the_same_path() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    for path in [
        "/api/v1/links/link/",
        "/%61pi/v1/links/%6Cink",
        "/api/v1/links/link?x=y",
    ] {
        let request = anna.client.request(Method::GET, path);
        let answer = send(request.bearer_auth(&anna.key)).await;
        assert_status(&answer, 200, path);
        assert_eq!(answer.json()["code"], "link", "{path}");
    }
}

#[tokio::test]
async fn the_api_is_under_the_limit_of_the_key_and_counted_as_a_route() {
    let builder = Node::builder().set("limiter.per_key", "3/minute");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    for left in ["2", "1", "0"] {
        let answer = anna.get("me").await;
        assert_status(&answer, 200, left);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
        assert!(answer.header("x-request-id").is_some(), "{answer:?}");
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy, Some("\"per-key\";q=3;w=60"));
    }
    let refused = anna.get("me").await;
    assert_problem(&refused, 429, "over the quota");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let labels = ["route=\"api\"", "status=\"200\""];
    let counted = node.metric("shunt_http_requests_total", &labels).await;
    assert_eq!(counted, 3.0);
    // Without a key it is the address that is limited.
    let answer = node.client().get("/api/v1/me").await;
    let policy = answer.header("ratelimit-policy").unwrap_or_default();
    assert!(policy.starts_with("\"default\""), "{answer:?}");
}

#[tokio::test]
async fn no_link_can_have_the_api_for_its_code() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    for alias in ["api", "API"] {
        let made = anna
            .post("links", json!({ "url": TARGET, "alias": alias }))
            .await;
        let error = assert_problem(&made, 422, alias);
        assert!(error.contains("reserved"), "{error}");
        let named = anna
            .post("links/link/codes", json!({ "code": alias }))
            .await;
        let error = assert_problem(&named, 422, alias);
        assert!(error.contains("reserved"), "{error}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_use_the_api_only_where_the_configuration_says_so() {
    const APP: &str = "https://app.example";
    let builder = unlimited().set("http.cors_origins", APP);
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("link", json!({})).await;
    let preflight = |origin: &'static str| {
        let request = node.client().request(Method::OPTIONS, "/api/v1/links/link");
        let request = request.header("access-control-request-method", "PATCH");
        request
            .header("access-control-request-headers", "authorization,if-match")
            .header("origin", origin)
    };
    let answer = send(preflight(APP)).await;
    assert_status(&answer, 204, "a preflight");
    let header = |name: &str| answer.header(name).unwrap_or_default().to_lowercase();
    assert_eq!(header("access-control-allow-origin"), APP);
    let methods = header("access-control-allow-methods");
    for method in ["get", "post", "patch", "delete"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = header("access-control-allow-headers");
    for name in [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "x-api-key",
    ] {
        assert!(headers.split(", ").any(|one| one == name), "{headers}");
    }
    let answer = send(preflight("https://evil.example")).await;
    assert_problem(&answer, 405, "another site");

    let get = || anna.request(Method::GET, "links/link");
    let answer = send(get().header("origin", APP)).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    let exposed = answer.header("access-control-expose-headers");
    let exposed = exposed.unwrap_or_default();
    let exposed: Vec<_> = exposed.split(", ").map(str::to_lowercase).collect();
    for name in [
        "etag",
        "link",
        "location",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "x-request-id",
    ] {
        assert!(exposed.iter().any(|one| one == name), "{exposed:?}");
    }
    // Whatever else an answer tells a program, a page can read.
    let of_http = ["cache-control", "content-length", "content-type", "date"];
    for name in answer.headers.keys().map(|name| name.as_str()) {
        let is_told = exposed.iter().any(|one| one == name);
        let is_of_cors = name.starts_with("access-control-") || name == "vary";
        assert!(is_told || is_of_cors || of_http.contains(&name), "{name}");
    }
    // Never with cookies.
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = send(get().header("origin", "https://evil.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // A refusal can be read as well.
    let request = node.client().request(Method::GET, "/api/v1/me");
    let answer = send(request.header("origin", APP)).await;
    assert_problem(&answer, 401, "without a key");
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    // So can the document, such as by a page that shows it.
    let request = node.client().request(Method::GET, "/api/openapi.json");
    let answer = send(request.header("origin", APP)).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
}

/// Browsers send preflights by themselves.
#[tokio::test]
async fn a_preflight_for_the_api_costs_neither_the_key_nor_the_address_anything() {
    const APP: &str = "https://app.example";
    let builder = Node::builder()
        .set("limiter.quota", "1/minute")
        .set("limiter.per_key", "1/minute")
        .set("http.cors_origins", APP);
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "manage");
    for _ in 0..20 {
        let request = node.client().request(Method::OPTIONS, "/api/v1/me");
        let request = request
            .header("origin", APP)
            .header("access-control-request-method", "GET");
        assert_status(&send(request).await, 204, "a preflight");
    }
    assert_status(&anna.get("me").await, 200, "the key has its quota");
    assert_problem(&anna.get("me").await, 429, "and no more");
    let answer = node.client().get("/api/docs").await;
    assert_status(&answer, 200, "the address has its own");
}
