//! The form of every error.

use reqwest::Method;
use testkit::{Answer, Client, Node};

use super::exchange::{
    FORM, JSON, assert_page, assert_problem, assert_status, exchange, from_browser, post,
    raw_status, send, unlimited,
};

const MAX_BODY: usize = 32 * 1024;

/// One error of each kind: the request and the status.
const ERRORS: [(&str, &str, &str, &str, u16); 9] = [
    ("POST", "/shorten", FORM, "nothing=1", 400),
    ("POST", "/shorten", JSON, "{", 400),
    ("GET", "/Ab3xY9", FORM, "", 404),
    ("GET", "/a/b", FORM, "", 404),
    ("GET", "/shorten", FORM, "", 405),
    (
        "POST",
        "/shorten",
        FORM,
        "url=https://example.com/&alias=taken",
        409,
    ),
    ("GET", "/once", FORM, "", 410),
    (
        "POST",
        "/shorten",
        "text/plain",
        "https://example.com/",
        415,
    ),
    ("POST", "/shorten", FORM, "url=ftp://example.com/", 422),
];

/// A node with the alias `taken`, and with the alias `once` used up.
async fn node_with_links() -> Node {
    let node = unlimited().start().await;
    let client = node.client();
    for body in [
        "url=https://example.com/&alias=taken",
        "url=https://example.com/&alias=once&max_visits=1",
    ] {
        send(post(&client, FORM, body)).await.code();
    }
    assert_status(&client.get("/once").await, 302, "the only visit");
    node
}

async fn provoke(client: &Client, index: usize, browser: bool) -> Answer {
    let (method, path, content_type, body, _) = ERRORS[index];
    let mut request = client.request(method.parse().unwrap(), path);
    if method == "POST" {
        request = request.header("content-type", content_type).body(body);
    }
    send(if browser {
        from_browser(request)
    } else {
        request
    })
    .await
}

#[tokio::test]
async fn a_script_is_told_in_problem_json_and_a_browser_on_a_page() {
    let node = node_with_links().await;
    let client = node.client();
    for (index, (method, path, _, body, status)) in ERRORS.into_iter().enumerate() {
        let what = format!("{method} {path} {body}");
        let problem = provoke(&client, index, false).await;
        let error = assert_problem(&problem, status, &what);
        let page = provoke(&client, index, true).await;
        assert_page(&page, status, &what);
        // The page has the same sentence, with these characters as references.
        let parts = error.split(['\'', '"', '&', '<', '>']);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        assert!(!parts.is_empty(), "{what}: {error}");
        for part in parts {
            assert!(
                page.body.contains(part),
                "{what}: no {part:?} in {}",
                page.body
            );
        }
    }
}

#[tokio::test]
async fn the_wrong_method_is_told_the_right_ones() {
    let node = node_with_links().await;
    let client = node.client();
    for (path, allow, wrong) in [
        (
            "/",
            "GET, HEAD",
            &["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"][..],
        ),
        (
            "/shorten",
            "POST",
            &["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"],
        ),
        (
            "/taken",
            "GET, HEAD",
            &["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"],
        ),
    ] {
        for method in wrong {
            let request = || client.request(method.parse().unwrap(), path);
            let what = format!("{method} {path}");
            let problem = send(request()).await;
            assert_problem(&problem, 405, &what);
            assert_eq!(problem.header("allow"), Some(allow), "{what}");
            let page = send(from_browser(request())).await;
            assert_page(&page, 405, &what);
            assert_eq!(page.header("allow"), Some(allow), "{what} from a browser");
        }
    }
    let head = send(client.request(Method::HEAD, "/shorten")).await;
    assert_status(&head, 405, "HEAD /shorten");
    assert_eq!((head.header("allow"), &*head.body), (Some("POST"), ""));
    assert_status(&client.get("/taken").await, 302, "DELETE changed nothing");
}

#[tokio::test]
async fn a_body_of_any_other_type_is_rejected() {
    let node = unlimited().start().await;
    let client = node.client();
    let body = "url=https://example.com/";
    let without = client.request(Method::POST, "/shorten").body(body);
    assert_problem(&send(without).await, 415, "no content type");
    for content_type in [
        "text/plain",
        "text/html",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/json-patch+json",
        "application/octet-stream",
        "json",
        "",
        "*/*",
        "application/",
    ] {
        let answer = send(post(&client, content_type, body)).await;
        assert_problem(&answer, 415, content_type);
    }
}

#[tokio::test]
async fn a_body_over_32_kib_is_too_large() {
    let node = unlimited().start().await;
    let client = node.client();
    let body = |length: usize| format!("url=https://example.com/{}", "a".repeat(length - 24));
    let answer = send(post(&client, FORM, body(MAX_BODY))).await;
    assert_problem(&answer, 422, "32 KiB, and only its URL too long");
    let answer = send(post(&client, FORM, body(MAX_BODY + 1))).await;
    assert_problem(&answer, 413, "a byte more");
    let answer = send(from_browser(post(&client, FORM, body(MAX_BODY + 1)))).await;
    assert_page(&answer, 413, "a byte more from a browser");

    let head =
        "POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    // Without a length, the node finds out only while it reads.
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}1\r\na\r\n",
        chunk.repeat(8)
    );
    let answer = exchange(node.address(), chunked.as_bytes()).await;
    assert_eq!(raw_status(&answer), 413, "chunked: {answer}");
    // The length is announced and the body never sent: the node answers at once, without waiting for it.
    for length in ["1000000000000", "18446744073709551615"] {
        let announced = format!("{head}Content-Length: {length}\r\n\r\n");
        let answer = exchange(node.address(), announced.as_bytes()).await;
        assert_eq!(raw_status(&answer), 413, "{length}: {answer}");
    }
}
