//! What answers say to caches between a node and its clients, for each status.

use testkit::{Answer, Client, Node, Postgres, eventually, needs};

use super::exchange::{
    FORM, JSON, assert_status, exchange, from_browser, post, raw_status, send, unlimited,
};

const NO_STORE: Option<&str> = Some("no-store");
/// A browser may keep it for its history. A cache must ask again before it gives it to a client.
const NO_CACHE: Option<&str> = Some("no-cache");
/// By RFC 9111 no cache keeps a 302 that does not say for how long.
const SILENT: Option<&str> = None;

async fn node_with_links() -> Node {
    let node = unlimited().start().await;
    let client = node.client();
    for body in [
        "url=https://example.com/&alias=plain",
        "url=https://example.com/&alias=expiring&expires_in=1h",
        "url=https://example.com/&alias=counted&max_visits=10",
        "url=https://example.com/&alias=once&max_visits=1",
    ] {
        send(post(&client, FORM, body)).await.code();
    }
    assert_status(&client.get("/once").await, 302, "the only visit");
    node
}

async fn ask(client: &Client, method: &str, path: &str, body: (&str, String)) -> [Answer; 2] {
    let request = || {
        let request = client.request(method.parse().unwrap(), path);
        match &body {
            ("", _) => request,
            (content_type, body) => request
                .header("content-type", *content_type)
                .body(body.clone()),
        }
    };
    [send(request()).await, send(from_browser(request())).await]
}

#[tokio::test]
async fn every_answer_says_whether_it_may_be_kept() {
    let node = node_with_links().await;
    let client = node.client();
    let form = |body: &str| (FORM, body.to_owned());
    let none = || ("", String::new());
    for (method, path, body, status, expected) in [
        ("GET", "/", none(), 200, NO_CACHE),
        ("HEAD", "/", none(), 200, NO_CACHE),
        (
            "POST",
            "/shorten",
            form("url=https://example.com/"),
            200,
            NO_CACHE,
        ),
        ("GET", "/plain", none(), 302, SILENT),
        ("HEAD", "/plain", none(), 302, SILENT),
        ("GET", "/expiring", none(), 302, SILENT),
        ("GET", "/counted", none(), 302, NO_STORE),
        ("HEAD", "/counted", none(), 200, NO_STORE),
        ("POST", "/shorten", form("nothing=1"), 400, NO_STORE),
        ("POST", "/shorten", (JSON, "{".to_owned()), 400, NO_STORE),
        ("GET", "/Unknown1", none(), 404, NO_STORE),
        ("HEAD", "/Unknown1", none(), 404, NO_STORE),
        ("GET", "/Unknown1.html", none(), 404, NO_STORE),
        ("GET", "/a/b", none(), 404, NO_STORE),
        ("POST", "/a/b", none(), 404, NO_STORE),
        ("GET", "/shorten", none(), 405, NO_STORE),
        ("POST", "/", none(), 405, NO_STORE),
        ("DELETE", "/plain", none(), 405, NO_STORE),
        ("POST", "/favicon.ico", none(), 405, NO_STORE),
        (
            "POST",
            "/shorten",
            form("url=https://example.com/&alias=plain"),
            409,
            NO_STORE,
        ),
        ("GET", "/once", none(), 410, NO_STORE),
        ("HEAD", "/once", none(), 410, NO_STORE),
        ("POST", "/shorten", form(&"a".repeat(33_000)), 413, NO_STORE),
        (
            "POST",
            "/shorten",
            ("text/plain", "https://example.com/".to_owned()),
            415,
            NO_STORE,
        ),
        (
            "POST",
            "/shorten",
            form("url=ftp://example.com/"),
            422,
            NO_STORE,
        ),
    ] {
        for (answer, who) in ask(&client, method, path, body)
            .await
            .iter()
            .zip(["a script", "a browser"])
        {
            let what = format!("{method} {path}, {who}");
            assert_status(answer, status, &what);
            assert_eq!(
                answer.header("cache-control"),
                expected,
                "{what}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_and_a_body_that_comes_too_slowly_may_not_be_kept() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .set("http.request_timeout", "200ms")
        .start()
        .await;
    let client = node.client();
    let slow = "POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\nurl=";
    let answer = exchange(node.address(), slow.as_bytes()).await;
    assert_eq!(raw_status(&answer), 408, "{answer}");
    assert!(
        answer.contains("\r\ncache-control: no-store\r\n"),
        "{answer}"
    );
    for answer in ask(&client, "GET", "/", ("", String::new())).await {
        assert_status(&answer, 429, "over the quota");
        assert_eq!(answer.header("cache-control"), NO_STORE, "{answer:?}");
        let values = answer.headers.get_all("cache-control").iter().count();
        assert_eq!(values, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_without_the_database_may_not_be_kept() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = unlimited().postgres(&database).start().await;
    let client = node.client();
    postgres.kill();
    eventually("the links are unavailable", async || {
        let answer = client.get("/Unknown1").await;
        assert!([404, 503].contains(&answer.status.as_u16()), "{answer:?}");
        assert_eq!(answer.header("cache-control"), NO_STORE, "{answer:?}");
        (answer.status == 503).then_some(())
    })
    .await;
}
