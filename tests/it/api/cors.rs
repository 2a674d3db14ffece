//! Pages of other sites: `http.cors_origins`.

use reqwest::{Method, RequestBuilder};
use testkit::{Answer, Client, Node, NodeBuilder};

use super::exchange::{
    JSON, assert_problem, assert_status, from_browser, post, post_form, send, unlimited,
};

const APP: &str = "https://app.example";
const ELSEWHERE: &str = "https://evil.example";

fn for_pages_of(origins: &str) -> NodeBuilder {
    unlimited().set("http.cors_origins", origins)
}

/// The preflight that browsers send before they send JSON to another site.
fn preflight(client: &Client, path: &str, origin: &str) -> RequestBuilder {
    client
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
}

fn json_from(client: &Client, origin: &str) -> RequestBuilder {
    post(client, JSON, r#"{"url": "https://example.com/"}"#).header("origin", origin)
}

/// The names of all CORS headers of an answer.
fn cors_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(|name| name.as_str());
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

/// Whether the answer tells caches that it is for one origin.
fn varies_by_origin(answer: &Answer) -> bool {
    let mut lines = answer.headers.get_all("vary").into_iter();
    lines.any(|line| line.to_str().unwrap().contains("Origin"))
}

#[tokio::test]
async fn without_origins_no_page_of_another_site_is_told_anything() {
    let node = unlimited().start().await;
    let client = node.client();
    let answer = send(preflight(&client, "/shorten", APP)).await;
    assert_problem(&answer, 405, "a preflight");
    assert!(cors_headers(&answer).is_empty(), "{answer:?}");
    let answer = send(json_from(&client, APP)).await;
    assert_status(&answer, 200, "a request");
    assert!(cors_headers(&answer).is_empty(), "{answer:?}");
    assert!(!varies_by_origin(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_send_and_read() {
    let node =
        for_pages_of("https://App.example:443/, http://localhost:3000, moz-extension://0a-1b")
            .start()
            .await;
    let client = node.client();
    for origin in [APP, "http://localhost:3000", "moz-extension://0a-1b"] {
        let answer = send(preflight(&client, "/shorten", origin)).await;
        assert_status(&answer, 204, origin);
        assert_eq!(allowed(&answer), Some(origin));
        let header = |name: &str| answer.header(name).unwrap_or_default().to_lowercase();
        assert_eq!(header("access-control-allow-methods"), "post");
        assert!(header("access-control-allow-headers").contains("content-type"));
        let max_age: u32 = header("access-control-max-age").parse().expect("seconds");
        assert!((600..=86_400).contains(&max_age), "{max_age}");
        assert!(varies_by_origin(&answer), "{answer:?}");
        assert_eq!(answer.body, "");
        assert!(answer.header("x-request-id").is_some());

        let answer = send(json_from(&client, origin)).await;
        assert_status(&answer, 200, origin);
        assert_eq!(allowed(&answer), Some(origin));
        assert!(varies_by_origin(&answer), "{answer:?}");
        let exposed = answer
            .header("access-control-expose-headers")
            .expect("some");
        let exposed: Vec<_> = exposed.split(", ").map(str::to_lowercase).collect();
        let told = answer.headers.keys().map(|name| name.as_str());
        for name in told.filter(|name| name.contains("ratelimit") || *name == "x-request-id") {
            assert!(
                exposed.iter().any(|other| other == name),
                "{name}: {exposed:?}"
            );
        }
        for name in [
            "retry-after",
            "allow",
            "accept-encoding",
            "etag",
            "location",
        ] {
            assert!(exposed.iter().any(|other| other == name), "{exposed:?}");
        }
        // Scripts can also read errors.
        let answer = send(post_form(&client, &[]).header("origin", origin)).await;
        assert_problem(&answer, 400, origin);
        assert_eq!(allowed(&answer), Some(origin));
        // The answer never asks for cookies or passwords.
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_page_of_any_other_origin_may_not() {
    let node = for_pages_of("https://app.example, http://localhost:3000")
        .start()
        .await;
    let client = node.client();
    for origin in [
        ELSEWHERE,
        "null",
        "",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://sub.app.example",
        "http://localhost",
        "https://app.example, https://evil.example",
        "*",
    ] {
        let answer = send(preflight(&client, "/shorten", origin)).await;
        assert_status(&answer, 405, origin);
        assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
        let answer = send(json_from(&client, origin)).await;
        assert_status(&answer, 200, "a request is answered, and cannot be read");
        assert!(cors_headers(&answer).is_empty(), "{origin}: {answer:?}");
        assert!(varies_by_origin(&answer), "{origin}: {answer:?}");
    }
    let twice = json_from(&client, APP).header("origin", ELSEWHERE);
    assert!(cors_headers(&send(twice).await).is_empty());
    // Without an origin: a script, or this service's own page in an old browser.
    let answer = client.shorten("https://example.com/").await;
    assert!(cors_headers(&answer).is_empty() && varies_by_origin(&answer));
    // Any other `OPTIONS` gets the same answer as without CORS.
    let options = send(
        client
            .request(Method::OPTIONS, "/shorten")
            .header("origin", APP),
    )
    .await;
    assert_status(&options, 405, "no method asked for");
    let options = client.request(Method::OPTIONS, "/shorten");
    let options = send(options.header("access-control-request-method", "POST")).await;
    assert_status(&options, 405, "no origin");
}

#[tokio::test]
async fn a_star_allows_every_page() {
    let node = for_pages_of("*").start().await;
    let client = node.client();
    for origin in [APP, ELSEWHERE, "null"] {
        let answer = send(preflight(&client, "/shorten", origin)).await;
        assert_status(&answer, 204, origin);
        assert_eq!(allowed(&answer), Some("*"));
        let answer = send(json_from(&client, origin)).await;
        assert_status(&answer, 200, origin);
        assert_eq!(allowed(&answer), Some("*"));
        assert!(!varies_by_origin(&answer), "the same for all: {answer:?}");
    }
}

/// The preflight has no key, because browsers send none with it.
#[tokio::test]
async fn a_page_may_ask_whether_it_may_manage_keys() {
    let node = for_pages_of(APP).start().await;
    let client = node.client();
    let sent = "authorization, content-type, x-api-key";
    for method in ["GET", "POST", "DELETE"] {
        let request = client.request(Method::OPTIONS, "/api/v1/keys/phone");
        let request = request
            .header("origin", APP)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", sent);
        let answer = send(request).await;
        assert_status(&answer, 204, method);
        assert_eq!(allowed(&answer), Some(APP));
        let listed = |name: &str| {
            let list = answer.header(name).expect("a list").to_lowercase();
            let names = list.split(',').map(|name| name.trim().to_owned());
            names.collect::<Vec<_>>()
        };
        assert!(listed("access-control-allow-methods").contains(&method.to_lowercase()));
        let headers = listed("access-control-allow-headers");
        for name in sent.split(", ") {
            assert!(headers.contains(&name.to_owned()), "{name}: {headers:?}");
        }
    }
}

#[tokio::test]
async fn only_shortening_is_for_pages_of_other_sites() {
    let node = for_pages_of("*").start().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    let path = format!("/{code}");
    for path in ["/", &*path, "/Ab3xY9", "/a/b"] {
        let answer = send(client.request(Method::GET, path).header("origin", APP)).await;
        assert!(cors_headers(&answer).is_empty(), "{path}: {answer:?}");
        let answer = send(preflight(&client, path, APP)).await;
        assert!(!answer.status.is_success(), "{path}: {answer:?}");
        assert!(cors_headers(&answer).is_empty(), "{path}: {answer:?}");
    }
}

/// Browsers send preflights by themselves, so these cost no quota; and a page must be able to say why a request was
/// refused.
#[tokio::test]
async fn a_preflight_costs_no_quota_and_a_refusal_can_be_read() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .set("http.cors_origins", APP)
        .start()
        .await;
    let client = node.client();
    for _ in 0..20 {
        assert_status(&send(preflight(&client, "/shorten", APP)).await, 204, APP);
        let answer = send(preflight(&client, "/shorten", ELSEWHERE)).await;
        assert_status(&answer, 405, ELSEWHERE);
    }
    assert_status(&send(json_from(&client, APP)).await, 200, "the first");
    let answer = send(json_from(&client, APP)).await;
    assert_problem(&answer, 429, "the second");
    assert_eq!(allowed(&answer), Some(APP));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("Retry-After"), "{exposed}");
    let page = send(from_browser(json_from(&client, APP))).await;
    assert_status(&page, 429, "in a browser");
    assert_eq!(allowed(&page), Some(APP));
    assert_status(
        &send(preflight(&client, "/shorten", APP)).await,
        204,
        "still",
    );
}
