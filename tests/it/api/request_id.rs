//! `X-Request-Id`: the caller's, if it is fit for a log line, else a new one.

use std::collections::HashSet;

use reqwest::{Method, header::HeaderValue};
use testkit::{Answer, Node};

use super::exchange::{
    FORM, assert_status, exchange, from_browser, post, raw_status, send, unlimited,
};

fn assert_generated(answer: &Answer, what: &str) -> String {
    let id = answer
        .header("x-request-id")
        .unwrap_or_else(|| panic!("{what}: {answer:?}"));
    assert_eq!(id.len(), 32, "{what}: {id}");
    assert!(
        id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{what}: {id}"
    );
    id.to_owned()
}

#[tokio::test]
async fn a_sane_id_comes_back_and_any_other_is_replaced() {
    let node = unlimited().start().await;
    let request = || node.client().request(Method::GET, "/");
    let longest = "x".repeat(128);
    for id in [
        "7",
        "7f3a-11",
        "Root=1-67891233-abcdef012345678912345678",
        &longest,
    ] {
        let answer = send(request().header("x-request-id", id)).await;
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    let too_long = "x".repeat(129);
    for id in [
        b"".as_slice(),
        b"two words",
        b"a,b",
        b"<script>",
        b"{\"level\":\"ERROR\"}",
        b"\"quoted\"",
        b"tab\there",
        b"\xff\xfe",
        "é".as_bytes(),
        too_long.as_bytes(),
    ] {
        let value = HeaderValue::from_bytes(id).unwrap();
        let answer = send(request().header("x-request-id", value)).await;
        assert_generated(&answer, &String::from_utf8_lossy(id));
    }
}

#[tokio::test]
async fn no_two_requests_get_the_same_id() {
    let node = unlimited().start().await;
    let client = node.client();
    let mut ids = HashSet::new();
    for _ in 0..50 {
        ids.insert(assert_generated(&client.get("/").await, "GET /"));
    }
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn every_answer_carries_one() {
    let node = Node::builder()
        .set("limiter.quota", "13/minute")
        .start()
        .await;
    let client = node.client();
    let shorten = |body: &'static str| post(&client, FORM, body);
    let get = |path: &str| client.request(Method::GET, path);
    let too_large = "a".repeat(32 * 1024 + 1);
    let requests = [
        (get("/"), 200),
        (from_browser(get("/")), 200),
        (shorten("url=https://example.com/&alias=mine"), 200),
        (get("/mine"), 302),
        (client.request(Method::HEAD, "/mine"), 302),
        (shorten("url="), 400),
        (get("/Ab3xY9"), 404),
        (from_browser(get("/a/b")), 404),
        (get("/shorten"), 405),
        (shorten("url=https://example.com/&alias=mine"), 409),
        (post(&client, FORM, too_large), 413),
        (post(&client, "text/plain", "x"), 415),
        (shorten("url=example.com"), 422),
        (get("/"), 429),
        (from_browser(get("/")), 429),
        (shorten("url=https://example.com/"), 429),
    ];
    for (request, status) in requests {
        let again = request
            .try_clone()
            .unwrap()
            .header("x-request-id", "mine-1");
        let answer = send(request).await;
        assert_status(&answer, status, "without an id");
        assert_generated(&answer, &format!("a {status}"));
        if status == 429 {
            let answer = send(again).await;
            assert_eq!(answer.header("x-request-id"), Some("mine-1"), "a {status}");
        }
    }
}

#[tokio::test]
async fn so_does_the_answer_to_a_client_that_was_too_slow_or_is_nobody() {
    let node = unlimited()
        .set("http.request_timeout", "1s")
        .set("http.trusted_proxies", "127.0.0.1")
        .start()
        .await;
    let head = "POST /shorten HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n";
    for (rest, status) in [
        ("Content-Length: 100\r\n\r\nurl=", 408),
        (
            "X-Forwarded-For: garbage\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            400,
        ),
    ] {
        let answer = exchange(node.address(), format!("{head}{rest}").as_bytes()).await;
        assert_eq!(raw_status(&answer), status, "{answer}");
        assert!(answer.contains("\r\nx-request-id: mine-1\r\n"), "{answer}");
    }
}
