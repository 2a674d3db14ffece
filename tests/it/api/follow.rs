//! `GET` and `HEAD /<code>`, and paths that no link could have.

use reqwest::Method;

use super::exchange::{
    assert_problem, assert_status, exchange, post_form, raw_status, send, unlimited,
};

#[tokio::test]
async fn get_and_head_redirect_to_the_target() {
    let node = unlimited().start().await;
    let client = node.client();
    let target = "https://example.com/a%20b?q=%C3%BC&r=1#part";
    let code = client.shorten(target).await.code();
    for path in [format!("/{code}"), format!("/{code}?utm_source=x")] {
        for method in [Method::GET, Method::HEAD] {
            let answer = send(client.request(method.clone(), &path)).await;
            assert_status(&answer, 302, &format!("{method} {path}"));
            assert_eq!(answer.header("location"), Some(target), "{method} {path}");
            assert_eq!(answer.body, "", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_code_is_not_found() {
    let node = unlimited().start().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    let other_case: String = code
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    for unknown in ["Ab3xY9", &code[..5], &format!("{code}x")] {
        let path = format!("/{unknown}");
        assert_problem(&client.get(&path).await, 404, &path);
        let head = send(client.request(Method::HEAD, &path)).await;
        assert_status(&head, 404, &path);
        assert_eq!((head.header("location"), &*head.body), (None, ""), "{path}");
    }
    if other_case != code {
        let path = format!("/{other_case}");
        assert_problem(&client.get(&path).await, 404, "the other case");
    }
    // A code that was asked for before it existed is found as soon as it exists.
    assert_problem(&client.get("/later").await, 404, "before");
    let fields = [("url", "https://example.com/"), ("alias", "later")];
    send(post_form(&client, &fields)).await.code();
    assert_status(&client.get("/later").await, 302, "after");
}

/// HTTP clients normalise paths before they send them. These are sent as they are.
#[tokio::test]
async fn a_path_that_no_link_could_have_is_not_found() {
    let node = unlimited().start().await;
    let long = format!("/{}", "a".repeat(10_000));
    let long_encoded = format!("/{}", "%C3%BC".repeat(2_000));
    for path in [
        "/%2F",
        "/abc%2Fdef",
        "/%00",
        "/abc%00",
        "/%ff",
        "/%C3%A9",
        "/%F0%9F%90%87",
        "/%C0%AF",
        "/a%20b",
        "/a+b",
        "/.",
        "/..",
        "/../../etc/passwd",
        "/%2e%2e%2fetc%2fpasswd",
        "/%0d%0aSet-Cookie:%20a=b",
        "/'%20OR%201=1--",
        "/%25",
        "/%",
        "/%zz",
        "/a;b",
        "/a:b",
        "/*",
        "/{code}",
        "//",
        "//example.com",
        "/a/b/c",
        "/abc.",
        "/.well-known/security.txt",
        "/favicon.ico.bak",
        "/shorten/x",
        "/?/abc",
        &long,
        &long_encoded,
    ] {
        let expected = if path == "/?/abc" { 200 } else { 404 };
        for accept in ["*/*", "text/html"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            );
            let answer = exchange(node.address(), request.as_bytes()).await;
            assert_eq!(raw_status(&answer), expected, "{path:.60}: {answer}");
            assert!(!answer.contains("\r\nlocation:"), "{path:.60}: {answer}");
            assert!(!answer.contains("\r\nset-cookie:"), "{path:.60}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_rejected_and_harms_no_other_client() {
    let node = unlimited().start().await;
    let too_long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000));
    let two_hosts = "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    for request in [
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(),
        "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(),
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        two_hosts.as_bytes(),
        too_long.as_bytes(),
    ] {
        let answer = exchange(node.address(), request).await;
        let start = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(
            (400..500).contains(&raw_status(&answer)),
            "{start:?}: {answer}"
        );
    }
    assert_status(&node.client().get("/").await, 200, "afterwards");
}
