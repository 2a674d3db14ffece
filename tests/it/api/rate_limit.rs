//! The headers, the countdown, the refusal.

use std::time::Duration;

use reqwest::Method;
use testkit::{Answer, Node, RawConnection};

use super::exchange::{
    FORM, assert_page, assert_problem, assert_status, from_browser, post, raw_status, send,
};

/// The answer has the headers of the default policy, with this many requests left. Returns the reset.
fn assert_headers(answer: &Answer, remaining: u64, what: &str) -> u64 {
    let policy = answer.header("ratelimit-policy");
    assert_eq!(policy, Some("\"default\";q=10;w=60"), "{what}: {answer:?}");
    assert_eq!(answer.number("x-ratelimit-limit"), 10, "{what}");
    assert_eq!(answer.number("x-ratelimit-remaining"), remaining, "{what}");
    let reset = answer.number("x-ratelimit-reset");
    assert!((1..=60).contains(&reset), "{what}: {answer:?}");
    let state = format!("\"default\";r={remaining};t={reset}");
    assert_eq!(answer.header("ratelimit"), Some(&*state), "{what}");
    reset
}

#[tokio::test]
async fn ten_requests_of_any_kind_get_through_and_each_answer_counts_down() {
    let node = Node::embedded().await;
    let client = node.client();
    let get = |path: &str| client.request(Method::GET, path);
    let shorten = |body: &'static str| post(&client, FORM, body);
    let requests = [
        (get("/"), 200),
        (from_browser(get("/")), 200),
        (shorten("url=https://example.com/&alias=mine"), 200),
        (get("/mine"), 302),
        (client.request(Method::HEAD, "/mine"), 302),
        (get("/Ab3xY9"), 404),
        (get("/not/a/code"), 404),
        (get("/shorten"), 405),
        (shorten("url="), 400),
        (shorten("url=example.com"), 422),
    ];
    for (remaining, (request, status)) in (0..10).rev().zip(requests) {
        let answer = send(request).await;
        assert_status(&answer, status, "within the quota");
        assert_headers(&answer, remaining, &format!("a {status}"));
        assert_eq!(answer.header("retry-after"), None, "a {status}");
    }
    let requests = [
        get("/"),
        shorten("url=https://example.com/"),
        get("/mine"),
        client.request(Method::DELETE, "/mine"),
        get("/not/a/code"),
    ];
    for request in requests {
        let answer = send(request).await;
        let error = assert_problem(&answer, 429, "over the quota");
        assert_eq!(error, "Rate limit exceeded");
        let reset = assert_headers(&answer, 0, "a 429");
        assert_eq!(answer.number("retry-after"), reset);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("location"), None);
    }
    // Other clients still have their quota.
    let other = node.client_at([127, 0, 0, 7]).get("/mine").await;
    assert_status(&other, 302, "another client");
    assert_headers(&other, 9, "another client");
}

#[tokio::test]
async fn a_refused_browser_gets_a_page_with_the_same_headers() {
    let node = Node::embedded().await;
    let client = node.client();
    for _ in 0..10 {
        client.get("/").await;
    }
    for request in [
        client.request(Method::GET, "/"),
        post(&client, FORM, "url=https://example.com/"),
    ] {
        let answer = send(from_browser(request)).await;
        assert_page(&answer, 429, "a browser");
        assert!(
            answer.body.contains("Rate limit exceeded"),
            "{}",
            answer.body
        );
        let reset = assert_headers(&answer, 0, "a page");
        assert_eq!(answer.number("retry-after"), reset);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_refused_post_does_nothing_and_keeps_its_connection() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .start()
        .await;
    let mut connection = RawConnection::open(node.address()).await;
    let body = format!(
        "url=https://example.com/{}&alias=refused",
        "a".repeat(5_000)
    );
    let request = format!(
        "POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (number, (request, status)) in [
        (first, 200),
        (&*request, 429),
        (&request, 429),
        (first, 429),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(
            connection.send(request.as_bytes()).await,
            "request {number}"
        );
        let answer = connection.receive(Duration::from_secs(10)).await;
        let answer = answer.unwrap_or_else(|| panic!("closed before request {number}"));
        assert_eq!(raw_status(&answer), status, "request {number}: {answer}");
        assert!(
            !answer.to_lowercase().contains("connection: close"),
            "{answer}"
        );
    }
    let answer = node.client_at([127, 0, 0, 7]).get("/refused").await;
    assert_status(&answer, 404, "what was refused is not stored");
}

#[tokio::test]
async fn a_client_that_waits_as_long_as_it_was_told_is_admitted() {
    let node = Node::builder().set("limiter.quota", "2/2s").start().await;
    let client = node.client();
    let answers = [client.get("/").await, client.get("/").await];
    for answer in &answers {
        assert_status(answer, 200, "within the quota");
    }
    let refused = client.get("/").await;
    assert_status(&refused, 429, "over the quota");
    let wait = refused.number("retry-after");
    assert!((1..=2).contains(&wait), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_status(&client.get("/").await, 200, "after Retry-After");
}
