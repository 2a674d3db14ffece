//! Requests that several files send, and how they read the answers.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Body, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use testkit::{Answer, Client, Node, NodeBuilder, RawConnection};

use super::document::assert_documented;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";

/// Longer than any time limit of the nodes here.
const PATIENCE: Duration = Duration::from_secs(15);

/// Texts that must not be in an answer: names of libraries, files and statements, and words that parsers write for
/// programmers.
const INTERNALS: [&str; 19] = [
    "sqlx",
    "sqlite",
    "postgres",
    "select ",
    "insert ",
    "panicked",
    "backtrace",
    "src/",
    ".rs",
    "serde",
    "untagged",
    "variant",
    "expected",
    "invalid type",
    "line 1",
    "column",
    "eof while",
    "trailing characters",
    "relative url",
];

/// A node with a limit so high that tests do not reach it.
pub(crate) fn unlimited() -> NodeBuilder {
    Node::builder().set("limiter.quota", "100000/minute")
}

/// Sends a request. If it is one of the API, the answer must be as the document of the API says.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let asked = request.try_clone().and_then(|request| request.build().ok());
    let answer = Answer::to(request).await.expect("an answer");
    if let Some(asked) = asked {
        assert_documented(&asked, &answer);
    }
    answer
}

/// `POST /shorten` with any body.
pub(crate) fn post(client: &Client, content_type: &str, body: impl Into<Body>) -> RequestBuilder {
    let request = client.request(Method::POST, "/shorten");
    request.header("content-type", content_type).body(body)
}

/// `POST /shorten` with the fields of a form.
pub(crate) fn post_form(client: &Client, fields: &[(&str, &str)]) -> RequestBuilder {
    client.request(Method::POST, "/shorten").form(fields)
}

/// The request, with the `Accept` header of Firefox.
pub(crate) fn from_browser(request: RequestBuilder) -> RequestBuilder {
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    request.header("accept", accept)
}

pub(crate) fn assert_status(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
}

/// The answer is problem+json (RFC 9457) with our `error`, and says nothing internal. Returns the `error`.
pub(crate) fn assert_problem(answer: &Answer, status: u16, what: &str) -> String {
    assert_status(answer, status, what);
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"), "{what}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    assert_eq!(problem["type"], "about:blank", "{what}: {problem}");
    let title = StatusCode::from_u16(status).unwrap().canonical_reason();
    assert_eq!(problem["title"].as_str(), title, "{what}: {problem}");
    assert_nothing_internal(answer, what);
    match &problem["error"] {
        Value::String(error) if !error.is_empty() => error.clone(),
        other => panic!("{what}: `error` is {other}"),
    }
}

/// The answer is an error on a page, and says nothing internal.
pub(crate) fn assert_page(answer: &Answer, status: u16, what: &str) {
    assert_status(answer, status, what);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/html"), "{what}: {answer:?}");
    assert!(answer.body.contains("<h1>"), "{what}: {answer:?}");
    assert_nothing_internal(answer, what);
}

fn assert_nothing_internal(answer: &Answer, what: &str) {
    let body = answer.body.to_lowercase();
    let told = INTERNALS.iter().find(|internal| body.contains(**internal));
    assert_eq!(told, None, "{what}: {answer:?}");
}

/// Sends exactly these bytes on a new connection, and returns the answer.
pub(crate) async fn exchange(node: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = RawConnection::open(node).await;
    connection.send(bytes).await;
    let mut answer = String::new();
    while !is_complete(&answer) {
        match connection.receive(PATIENCE).await {
            Some(part) if part.is_empty() => panic!("nothing more within {PATIENCE:?}: {answer:?}"),
            Some(part) => answer += &part,
            None => break,
        }
    }
    answer
}

fn is_complete(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}

/// The status in the first line of an answer.
pub(crate) fn raw_status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {answer:?}"))
}
