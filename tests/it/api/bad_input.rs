//! Bad input gets a clear 4xx, and nothing is stored.

use testkit::{Database, Node, Postgres, needs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::exchange::{
    FORM, JSON, assert_page, assert_problem, exchange, from_browser, post, raw_status, send,
    unlimited,
};

const COUNT: &str = "SELECT count(*) FROM urls";

/// On Postgres, because it rejects more than SQLite does: a NUL, for example.
async fn node_on_postgres() -> (Node, Database) {
    let database = Postgres::shared_by_tests().await.database().await;
    let node = unlimited()
        .set("http.request_timeout", "1s")
        .postgres(&database)
        .start()
        .await;
    (node, database)
}

/// Checks that nothing is stored, and that the database was not asked to store anything. Then stores one link, to show
/// that the count works.
async fn assert_nothing_stored(node: &Node, database: &Database) {
    assert_eq!(database.number(COUNT).await, 0);
    assert_eq!(node.metric("shunt_store_errors_total", &[]).await, 0.0);
    node.client()
        .shorten("https://example.com/good")
        .await
        .code();
    assert_eq!(database.number(COUNT).await, 1);
}

/// Each body gets an error with its status, for scripts and for browsers.
async fn assert_rejected(content_type: &str, cases: &[(&[u8], u16)]) {
    let (node, database) = node_on_postgres().await;
    let client = node.client();
    for (body, status) in cases {
        let request = || post(&client, content_type, body.to_vec());
        let what = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_problem(&send(request()).await, *status, &what);
        assert_page(&send(from_browser(request())).await, *status, &what);
    }
    assert_nothing_stored(&node, &database).await;
}

#[tokio::test]
async fn a_bad_form_stores_nothing() {
    needs!("postgres");
    let too_long = format!("url=https://example.com/{}", "a".repeat(8_193 - 20));
    let grows = format!("url=https://example.com/{}", "%C3%BC".repeat(1_400));
    assert_rejected(
        FORM,
        &[
            (b"", 400),
            (b"url", 400),
            (b"url=", 400),
            (b"url=%20+", 400),
            (b"link=https://example.com/", 400),
            (b"URL=https://example.com/", 400),
            (b"url=https://example.com/&url=https://example.org/", 400),
            (b"url=https://example.com/&url=https://example.com/", 400),
            (b"url=https://example.com/&unknown=1", 400),
            (b"url=https://example.com/\xff", 400),
            (b"url=https://example.com/%ff", 400),
            (b"url=https://example.com/%C0%AF", 400),
            (b"url=https://example.com/%ED%A0%80", 400),
            (b"url=example.com", 422),
            (b"url=/relative", 422),
            (b"url=//example.com/", 422),
            (b"url=https:example.com", 422),
            (b"url=javascript:alert(1)", 422),
            (b"url=JaVaScRiPt:alert(1)", 422),
            (b"url=data:text/html,x", 422),
            (b"url=file:///etc/passwd", 422),
            (b"url=ftp://example.com/", 422),
            (b"url=mailto:a@example.com", 422),
            (b"url=http://", 422),
            (b"url=https:///path", 422),
            (b"url=http://[::1", 422),
            (b"url=http://example.com:99999/", 422),
            (b"url=http://exa+mple.com/", 422),
            (b"url=https://user@example.com/", 422),
            (b"url=https://user:password@example.com/", 422),
            (b"url=https://example.com/\0", 422),
            (b"url=https://example.com/%00", 422),
            (b"url=https://exa%2500mple.com/", 422),
            (b"url=https://example.com/\r\nSet-Cookie:+a=b", 422),
            (b"url=https://example.com/%0D%0ASet-Cookie:+a=b", 422),
            (b"url=https://example.com/%09x", 422),
            (b"url=https://example.com/%7F", 422),
            (b"url=https://example.com/%C2%85x", 422),
            (b"url=java%0Ascript:alert(1)", 422),
            (too_long.as_bytes(), 422),
            (grows.as_bytes(), 422),
        ],
    )
    .await;
}

#[tokio::test]
async fn bad_json_stores_nothing() {
    needs!("postgres");
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(5_000), close.repeat(5_000));
        format!("{{\"url\": {open}1{close}}}").into_bytes()
    };
    // A level of an object takes six bytes, and a body has at most 32 KiB.
    let deep_objects = format!("{{\"url\": {}", "{\"a\":".repeat(5_000)).into_bytes();
    let (deep_arrays, deep_unclosed) = (deep("[", "]"), deep("[", ""));
    let deep_unknown = String::from_utf8(deep("[", "]"))
        .unwrap()
        .replace("url", "x");
    assert_rejected(
        JSON,
        &[
            (b"", 400),
            (b"null", 400),
            (b"{}", 400),
            (b"[]", 400),
            (b"\"https://example.com/\"", 400),
            (b"[\"https://example.com/\"]", 400),
            (b"[\"https://example.com/\", null, null, null]", 400),
            (b"{\"url\": null}", 400),
            (b"{\"url\": 5}", 400),
            (b"{\"url\": true}", 400),
            (b"{\"url\": [\"https://example.com/\"]}", 400),
            (b"{\"url\": {\"url\": \"https://example.com/\"}}", 400),
            (b"{\"url\": \"\"}", 400),
            (b"{\"url\": \"https://example.com/\"", 400),
            (b"{\"url\": \"https://example.com/\"} {}", 400),
            (
                b"{\"url\": \"https://example.com/\", \"url\": \"https://example.org/\"}",
                400,
            ),
            (b"{\"url\": \"https://example.com/\", \"unknown\": 1}", 400),
            (b"{\"url\": \"https://example.com/\", \"alias\": 5}", 400),
            (
                b"{\"url\": \"https://example.com/\", \"max_visits\": [1]}",
                400,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"max_visits\": 1.5}",
                422,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"expires_in\": -1}",
                422,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"max_visits\": true}",
                400,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"unknown\": null}",
                400,
            ),
            (b"{\"url\": \"https://example.com/\xff\"}", 400),
            (b"{\"url\": \"https://example.com/\\ud800\"}", 400),
            (b"{\"url\": \"https://example.com/\n\"}", 400),
            (b"url=https://example.com/", 400),
            (&deep_arrays, 400),
            (&deep_unclosed, 400),
            (&deep_objects, 400),
            (deep_unknown.as_bytes(), 400),
            (b"{\"url\": \"example.com\"}", 422),
            (b"{\"url\": \"javascript:alert(1)\"}", 422),
            (b"{\"url\": \"https://example.com/\\u0000\"}", 422),
            (
                b"{\"url\": \"https://example.com/\\r\\nSet-Cookie: a=b\"}",
                422,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"max_visits\": 0}",
                422,
            ),
            (
                b"{\"url\": \"https://example.com/\", \"alias\": \"a\\u0000b\"}",
                422,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_body_without_a_known_type_stores_nothing() {
    needs!("postgres");
    assert_rejected(
        "text/plain",
        &[(b"url=https://example.com/", 415), (b"", 415)],
    )
    .await;
}

/// The part that arrived would be a good request by itself, but the request announces more.
#[tokio::test]
async fn an_incomplete_body_stores_nothing() {
    needs!("postgres");
    let (node, database) = node_on_postgres().await;
    let head =
        "POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let short = format!("{head}Content-Length: 25\r\n\r\nurl=https://example.com/");
    let chunk = "18\r\nurl=https://example.com/\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}");

    for unfinished in [&short, &chunked] {
        let answer = exchange(node.address(), unfinished.as_bytes()).await;
        assert_eq!(raw_status(&answer), 408, "the rest does not come: {answer}");
    }
    for unfinished in [&short, &chunked] {
        let mut connection = TcpStream::connect(node.address()).await.unwrap();
        connection.write_all(unfinished.as_bytes()).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(raw_status(&answer), 400, "the client hangs up: {answer}");
    }
    let garbage = format!("{chunked}ZZ\r\n");
    let answer = exchange(node.address(), garbage.as_bytes()).await;
    assert_eq!(raw_status(&answer), 400, "the next chunk is none: {answer}");
    assert_nothing_stored(&node, &database).await;
}
