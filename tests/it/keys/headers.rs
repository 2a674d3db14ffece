//! Where a key can stand, and what never passes for a request without a key.

use std::{net::SocketAddr, time::Duration};

use reqwest::Method;
use testkit::{Client, Node, NodeBuilder, RawConnection};

use super::{create, get, policy, unknown};
use crate::api::exchange::{assert_status, exchange, raw_status, send, unlimited};

/// Longer than any time limit of the nodes here.
const PATIENCE: Duration = Duration::from_secs(15);

async fn node_with_key() -> (Node, NodeBuilder, String) {
    let builder = unlimited();
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    (node, builder, key)
}

/// Sends requests one after the other before the first answer is read. Returns the statuses in the order of the
/// answers.
pub(super) async fn statuses(connection: &mut RawConnection, requests: &[String]) -> Vec<u16> {
    assert!(connection.send(requests.concat().as_bytes()).await);
    let mut answers = String::new();
    let statuses = |answers: &str| -> Vec<u16> {
        let lines = answers.lines();
        let statuses = lines.filter_map(|line| line.strip_prefix("HTTP/1.1 "));
        statuses.map(|line| line[..3].parse().unwrap()).collect()
    };
    while statuses(&answers).len() < requests.len() {
        match connection.receive(PATIENCE).await {
            Some(part) if !part.is_empty() => answers += &part,
            _ => panic!("no more than {answers}"),
        }
    }
    statuses(&answers)
}

async fn status_of(node: SocketAddr, headers: &[u8]) -> u16 {
    let request = [b"GET / HTTP/1.1\r\nHost: a\r\n", headers, b"\r\n"].concat();
    raw_status(&exchange(node, &request).await)
}

#[tokio::test]
async fn a_key_stands_in_either_header() {
    let (node, _builder, key) = node_with_key().await;
    let client = node.client();
    let with = |name: &str, value: &str| client.request(Method::GET, "/").header(name, value);
    for request in [
        with("authorization", &format!("Bearer {key}")),
        with("Authorization", &format!("bEARER {key}")),
        with("x-api-key", &key),
        with("X-API-KEY", &key).bearer_auth(&key),
        // For a proxy in front.
        with("x-api-key", &key).basic_auth("anna", Some("password")),
    ] {
        let answer = send(request).await;
        assert_status(&answer, 200, "a key");
        assert!(policy(&answer).starts_with("\"per-key\""), "{answer:?}");
    }
}

#[tokio::test]
async fn other_schemes_are_for_proxies_and_a_key_in_the_url_is_none() {
    let (node, _builder, key) = node_with_key().await;
    let client = node.client();
    for request in [
        client
            .request(Method::GET, "/")
            .basic_auth("anna", Some("")),
        client
            .request(Method::GET, "/")
            .header("authorization", "Digest username=\"anna\""),
        client.request(Method::GET, &format!("/?api_key={key}&access_token={key}")),
        client
            .request(Method::GET, "/")
            .header("cookie", format!("key={key}")),
    ] {
        let answer = send(request).await;
        assert_status(&answer, 200, "no key");
        assert!(policy(&answer).starts_with("\"default\""), "{answer:?}");
    }
}

#[tokio::test]
async fn forged_headers_never_pass_for_no_key() {
    let (node, _builder, key) = node_with_key().await;
    let other = unknown();
    let long = "a".repeat(60_000);
    for headers in [
        format!("Authorization: Bearer {key}{long}\r\n"),
        format!("X-Api-Key: {key}{long}\r\n"),
        format!("X-Api-Key: {long}\r\n"),
        format!("Authorization: Bearer {key}\r\nAuthorization: Bearer {key}\r\n"),
        format!("Authorization: Bearer {key}\r\nauthorization: Basic YTpi\r\n"),
        format!("Authorization: Bearer {key}, Bearer {key}\r\n"),
        format!("X-Api-Key: {key}\r\nX-Api-Key: {key}\r\n"),
        format!("X-Api-Key: {key}\r\nX-Api-Key:\r\n"),
        format!("X-Api-Key: {key}\r\nAuthorization: Bearer {other}\r\n"),
        format!("X-Api-Key: {other}\r\nAuthorization: Bearer {key}\r\n"),
        format!("X-Api-Key: {key}\r\nAuthorization: Bearer\r\n"),
        "X-Api-Key:\r\n".to_owned(),
        "Authorization: Bearer\r\n".to_owned(),
        format!("Authorization: {key}\r\n"),
        format!("Authorization: Token {key}\r\n"),
        format!("Authorization: Bearer\t{key}\r\n"),
        format!("Authorization: Bearer \u{e4}{key}\r\n"),
        format!("X-Api-Key: {key}\u{fc}\r\n"),
    ] {
        let status = status_of(node.address(), headers.as_bytes()).await;
        let shown: String = headers.chars().take(200).collect();
        assert_eq!(status, 401, "{shown}");
    }
    for bytes in [
        &b"X-Api-Key: \xff\xfe\r\n"[..],
        b"Authorization: Bearer \xc3\x28\r\n",
    ] {
        assert_eq!(status_of(node.address(), bytes).await, 401, "{bytes:?}");
    }
    // More than a node takes is refused before anything looks at it.
    let too_long = format!("X-Api-Key: {}\r\n", "a".repeat(200_000));
    let status = status_of(node.address(), too_long.as_bytes()).await;
    assert!([400, 414, 431].contains(&status), "{status}");
    assert_status(&send(get(&node.client(), "/", &key)).await, 200, "still");
}

/// Each request on a connection has the key that stands in its own head, and no other.
#[tokio::test]
async fn requests_on_one_connection_have_the_keys_that_they_send() {
    let (node, builder, key) = node_with_key().await;
    let narrow = create(&builder, "tablet", &["--quota", "2/minute"]);
    let request = |key: Option<&str>| {
        let header = key.map(|key| format!("X-Api-Key: {key}\r\n"));
        let header = header.unwrap_or_default();
        format!("GET /-- HTTP/1.1\r\nHost: a\r\n{header}\r\n")
    };
    let bad = unknown();
    let order = [
        (Some(&*key), 404),
        (None, 404),
        (Some(&*narrow), 404),
        (Some(&*bad), 401),
        (None, 404),
        (Some(&*narrow), 404),
        (Some(&*narrow), 429),
        (Some(&*key), 404),
        (Some("nonsense"), 401),
        (None, 404),
    ];
    let requests = order.map(|(key, _)| request(key));
    let mut connection = RawConnection::open(node.address()).await;
    let answered = statuses(&mut connection, &requests).await;
    assert_eq!(answered, order.map(|(_, status)| status));
}

/// A page of an allowed site may send either header. It still must not send cookies.
#[tokio::test]
async fn pages_of_allowed_sites_may_send_a_key() {
    let app = "https://app.example";
    let builder = unlimited().set("http.cors_origins", app);
    let node = builder.start().await;
    let key = create(&builder, "page", &[]);
    let client: Client = node.client();
    let preflight = client
        .request(Method::OPTIONS, "/shorten")
        .header("origin", app)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,x-api-key");
    let answer = send(preflight).await;
    assert_status(&answer, 204, "a preflight");
    let allowed = answer.header("access-control-allow-headers").unwrap();
    let allowed: Vec<_> = allowed.split(", ").map(str::to_lowercase).collect();
    for header in ["authorization", "x-api-key", "content-type"] {
        assert!(allowed.iter().any(|name| name == header), "{allowed:?}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for (key, status) in [(key, 200), (unknown(), 401)] {
        let answer = send(super::shorten(&client, &key).header("origin", app)).await;
        assert_status(&answer, status, "a page's request");
        assert_eq!(answer.header("access-control-allow-origin"), Some(app));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}
