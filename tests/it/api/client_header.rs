//! Other headers than `X-Forwarded-For` in which trusted proxies name the client: `http.client_ip_header`.

use reqwest::{Method, RequestBuilder};
use testkit::{Client, Node};

use super::exchange::{assert_status, send};

const TRUSTED: &str = "127.0.0.1/32, 10.0.0.0/8";

async fn node_with(header: &str) -> Node {
    Node::builder()
        .set("http.trusted_proxies", TRUSTED)
        .set("http.client_ip_header", header)
        .set("limiter.quota", "1000/minute")
        .start()
        .await
}

fn with(client: &Client, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = client.request(Method::GET, "/");
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

/// How many requests of the same client were counted, with this one.
async fn counted(request: RequestBuilder) -> u64 {
    let answer = send(request).await;
    assert_status(&answer, 200, "within the quota");
    1000 - answer.number("x-ratelimit-remaining")
}

#[tokio::test]
async fn a_header_with_one_address_names_the_client_and_no_other_header_does() {
    let node = node_with("CF-Connecting-IP").await;
    let proxy = node.client();
    for (expected, headers) in [
        (1, &[("cf-connecting-ip", "203.0.113.1")][..]),
        (2, &[("CF-Connecting-IP", " 203.0.113.1 ")]),
        (
            3,
            &[
                ("cf-connecting-ip", "203.0.113.1"),
                ("x-forwarded-for", "198.51.100.7"),
            ],
        ),
        (
            4,
            &[
                ("cf-connecting-ip", "::ffff:203.0.113.1"),
                ("forwarded", "for=198.51.100.7"),
            ],
        ),
        (1, &[("cf-connecting-ip", "2001:db8::1")]),
        (2, &[("cf-connecting-ip", "2001:db8::2")]),
    ] {
        assert_eq!(
            counted(with(&proxy, headers)).await,
            expected,
            "{headers:?}"
        );
    }
    let untouched = [("cf-connecting-ip", "198.51.100.7")];
    assert_eq!(counted(with(&proxy, &untouched)).await, 1);
    assert!(node.log_lines("named no client").is_empty());
}

#[tokio::test]
async fn without_that_header_the_proxy_is_counted() {
    let node = node_with("X-Real-IP").await;
    let proxy = node.client();
    for (expected, headers) in [
        (1, &[][..]),
        // The proxy passes it on as the client wrote it.
        (2, &[("x-forwarded-for", "203.0.113.1")]),
        (3, &[("x-real-ip", "")]),
        (4, &[("x-real-ip", "unknown")]),
        (5, &[("x-real-ip", "203.0.113.1, 203.0.113.1")]),
        (
            6,
            &[("x-real-ip", "203.0.113.1"), ("x-real-ip", "203.0.113.1")],
        ),
    ] {
        assert_eq!(
            counted(with(&proxy, headers)).await,
            expected,
            "{headers:?}"
        );
    }
    assert_eq!(
        counted(with(&proxy, &[("x-real-ip", "203.0.113.1")])).await,
        1
    );
    node.logged("named no client", 1).await;
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_is_believed_in_any_header() {
    for header in ["CF-Connecting-IP", "Forwarded"] {
        let node = node_with(header).await;
        let stranger = node.client_at([127, 0, 0, 7]);
        let forged = [
            ("cf-connecting-ip", "203.0.113.1"),
            ("forwarded", "for=203.0.113.1"),
            ("x-forwarded-for", "203.0.113.1"),
        ];
        assert_eq!(counted(with(&stranger, &[])).await, 1, "{header}");
        assert_eq!(counted(with(&stranger, &forged)).await, 2, "{header}");
    }
}

#[tokio::test]
async fn the_right_most_untrusted_for_of_forwarded_is_the_client() {
    let node = node_with("Forwarded").await;
    let proxy = node.client();
    let same_client = [
        "for=203.0.113.1",
        "For=203.0.113.1;Proto=https",
        "proto=https;FOR=\"203.0.113.1:4711\";by=10.0.0.9",
        "for=\"203.0.113.1:_port\"",
        "for=198.51.100.1, for=203.0.113.1",
        "for=203.0.113.1, for=10.1.2.3;by=10.0.0.9",
        "for=\"[2001:db8::1]\", for=203.0.113.1, for=\"10.1.2.3:80\"",
        // A comma between quotes does not separate.
        "for=203.0.113.1;host=\"a, for=198.51.100.1;for=198.51.100.2\"",
        "host=\"\\\", for=198.51.100.1\";for=203.0.113.1",
        // The part to the left, which the client wrote, does no harm, even if it leaves a quote open.
        "for=\"_x, for=203.0.113.1",
        "for=\", for=203.0.113.1",
        "garbage, for=203.0.113.1",
    ];
    for (number, entries) in (1..).zip(same_client) {
        let request = with(&proxy, &[("forwarded", entries)]);
        assert_eq!(counted(request).await, number, "{entries}");
    }
    let two_lines = [
        ("forwarded", "for=198.51.100.1"),
        ("forwarded", "for=203.0.113.1"),
    ];
    assert_eq!(counted(with(&proxy, &two_lines)).await, 13);
    for (number, entries) in (1..).zip([
        "for=\"[2001:db8::1]\"",
        "for=\"[2001:DB8::2]:4711\"",
        "for=[2001:db8::3]",
    ]) {
        let request = with(&proxy, &[("forwarded", entries)]);
        assert_eq!(counted(request).await, number, "{entries}");
    }
    let forged = [("forwarded", "for=198.51.100.1")];
    assert_eq!(counted(with(&proxy, &forged)).await, 1);
    assert!(node.log_lines("named no client").is_empty());
}

#[tokio::test]
async fn an_element_of_forwarded_that_names_no_address_ends_the_search() {
    let node = node_with("Forwarded").await;
    let proxy = node.client();
    for (number, entries) in (1..).zip([
        "",
        "for=unknown",
        "for=_hidden",
        "for=\"_SEVKISEK\"",
        "203.0.113.1",
        "proto=https",
        "for=203.0.113.1, for=unknown",
        "for=203.0.113.1, by=10.0.0.9",
        "for=203.0.113.1,",
        "for=203.0.113.1;for=203.0.113.1",
        "for=\"203.0.113.1",
        "for=\"203.0.\\113.1\"",
        "x-for=203.0.113.1",
    ]) {
        let request = with(&proxy, &[("forwarded", entries)]);
        assert_eq!(counted(request).await, number, "{entries}");
    }
    let chain = [("forwarded", "for=203.0.113.1, for=_hidden, for=10.1.1.1")];
    assert_eq!(counted(with(&proxy, &chain)).await, 1);
    assert_eq!(
        counted(with(&proxy, &[("forwarded", "for=203.0.113.1")])).await,
        1
    );
    node.logged("named no client", 1).await;
}
