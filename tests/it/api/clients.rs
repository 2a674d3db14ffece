//! Which client is counted: the peer, or the one that a trusted proxy names; networks for IPv6.

use reqwest::{Method, RequestBuilder, header::HeaderValue};
use testkit::{Client, Node, NodeBuilder};

use super::exchange::{assert_status, send};

fn behind_a_proxy() -> NodeBuilder {
    Node::builder().set("http.trusted_proxies", "127.0.0.1/32")
}

fn forwarded(client: &Client, forwarded_for: &str) -> RequestBuilder {
    let request = client.request(Method::GET, "/");
    request.header("x-forwarded-for", forwarded_for)
}

/// The number of requests that are left, of ten, shows which client a request was counted for.
async fn remaining(request: RequestBuilder) -> u64 {
    let answer = send(request).await;
    assert_status(&answer, 200, "within the quota");
    answer.number("x-ratelimit-remaining")
}

#[tokio::test]
async fn a_forged_forwarded_header_changes_nothing() {
    // Without a proxy, and past one.
    for builder in [Node::builder(), behind_a_proxy()] {
        let node = builder.set("limiter.quota", "2/minute").start().await;
        let client = node.client_at([127, 0, 0, 7]);
        assert_status(&client.get("/").await, 200, "the first");
        assert_status(&client.get("/").await, 200, "the second");
        let long = vec!["203.0.113.1"; 1_000].join(", ");
        for forged in [
            "203.0.113.1",
            "127.0.0.1",
            "10.0.0.1, 127.0.0.1",
            "garbage",
            "",
            &long,
        ] {
            let request = forwarded(&client, forged)
                .header("forwarded", "for=203.0.113.9")
                .header("x-real-ip", "203.0.113.9");
            assert_status(&send(request).await, 429, forged);
        }
        // The client whose address was forged still has its quota.
        let proxy = node.client();
        assert_status(
            &send(forwarded(&proxy, "203.0.113.1")).await,
            200,
            "the victim",
        );
    }
}

#[tokio::test]
async fn each_client_behind_a_trusted_proxy_has_its_own_quota() {
    let node = behind_a_proxy()
        .set("limiter.quota", "1/minute")
        .start()
        .await;
    let proxy = node.client();
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        assert_status(&send(forwarded(&proxy, client)).await, 200, client);
    }
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        assert_status(&send(forwarded(&proxy, client)).await, 429, client);
    }
    // Without the header the proxy itself is the client.
    assert_status(&proxy.get("/").await, 200, "the proxy's own first");
    assert_status(&proxy.get("/").await, 429, "the proxy's own second");
}

#[tokio::test]
async fn only_the_right_most_untrusted_entry_counts() {
    let node = Node::builder()
        .set("http.trusted_proxies", "127.0.0.1/32, 10.0.0.0/8")
        .start()
        .await;
    let proxy = node.client();
    let same_client = [
        "203.0.113.1",
        "198.51.100.1, 203.0.113.1",
        "198.51.100.2,203.0.113.1",
        "203.0.113.9, 198.51.100.3, 203.0.113.1",
        "127.0.0.1, 203.0.113.1",
        "203.0.113.1, 10.1.2.3",
        "198.51.100.4, 203.0.113.1 , 10.1.2.3,127.0.0.1",
        "forged garbage, 203.0.113.1",
    ];
    for (left, entries) in (0..10).rev().zip(same_client) {
        assert_eq!(
            remaining(forwarded(&proxy, entries)).await,
            left,
            "{entries}"
        );
    }
    // Two lines are one list.
    let two_lines = forwarded(&proxy, "198.51.100.5").header("x-forwarded-for", "203.0.113.1");
    assert_eq!(remaining(two_lines).await, 1);
    // No request was counted for the forged addresses.
    for forged in ["198.51.100.1", "198.51.100.3", "203.0.113.9"] {
        assert_eq!(remaining(forwarded(&proxy, forged)).await, 9, "{forged}");
    }
}

/// Addresses, each with whether it is a new client.
async fn assert_networks(node: &Node, addresses: &[(&str, u64)]) {
    let proxy = node.client();
    for (address, expected) in addresses {
        let left = remaining(forwarded(&proxy, address)).await;
        assert_eq!(left, *expected, "{address}");
    }
}

#[tokio::test]
async fn ipv6_is_counted_per_network_and_ipv4_per_address() {
    let node = behind_a_proxy().start().await;
    let addresses = [
        ("2001:db8:0:1::1", 9),
        ("2001:db8:0:1::2", 8),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", 7),
        ("[2001:DB8:0:1::3]:4711", 6),
        ("2001:db8:0:2::1", 9),
        ("2001:db8:0:3::1", 9),
        ("192.0.2.1", 9),
        ("192.0.2.2", 9),
        ("192.0.2.1:4711", 8),
        ("::ffff:192.0.2.1", 7),
        ("::ffff:c000:201", 6),
        ("::ffff:192.0.2.3", 9),
    ];
    assert_networks(&node, &addresses).await;

    let node = behind_a_proxy()
        .set("limiter.ipv6_prefix", "48")
        .start()
        .await;
    let addresses = [
        ("2001:db8:1:1::1", 9),
        ("2001:db8:1:2::1", 8),
        ("2001:db8:2::1", 9),
        ("192.0.2.1", 9),
    ];
    assert_networks(&node, &addresses).await;
}

/// Some proxies do not know the client, or hide it. Then the proxy that wrote the entry is counted.
#[tokio::test]
async fn an_entry_that_is_no_address_ends_the_search_at_the_proxy_that_wrote_it() {
    let node = Node::builder()
        .set("http.trusted_proxies", "127.0.0.1/32, 10.0.0.0/8")
        .set("limiter.quota", "1000/minute")
        .start()
        .await;
    let proxy = node.client();
    let endless = vec!["10.1.1.1"; 64].join(", ");
    let many = format!("203.0.113.1, 203.0.113.1, {endless}");
    let mut requests = 0;
    for entries in [
        &b"unknown"[..],
        b"garbage",
        b"",
        b",",
        b"203.0.113.1,",
        b"203.0.113.1, unknown",
        b"203.0.113.1, fe80::1%eth0",
        b"203.0.113.1, ,",
        b"203.0.113",
        b"203.0.113.256",
        b"203.0.113.1 203.0.113.2",
        b"for=203.0.113.1",
        b"_hidden",
        b"example.com",
        b"2001:db8::g",
        b"203.0.113.1, \xff",
    ] {
        let value = HeaderValue::from_bytes(entries).unwrap();
        let request = proxy.request(Method::GET, "/");
        requests += 1;
        assert_eq!(
            remaining(request.header("x-forwarded-for", value)).await,
            1000 - requests,
            "{}",
            String::from_utf8_lossy(entries)
        );
    }
    // In a chain, that is the proxy to the right of the entry.
    for (left, entries) in [
        (999, "203.0.113.1, unknown, 10.1.1.1"),
        (998, "unknown, 10.1.1.1"),
        (997, ", 10.1.1.1"),
        (996, &many),
    ] {
        assert_eq!(
            remaining(forwarded(&proxy, entries)).await,
            left,
            "{entries}"
        );
    }
    // No request was counted for the addresses to the left.
    assert_eq!(remaining(forwarded(&proxy, "203.0.113.1")).await, 999);

    // Once a minute is enough.
    let lines = node.logged("named no client", 1).await;
    assert!(lines[0].contains("127.0.0.1"), "{lines:?}");
}

/// Without this, a byte that is not text would let a client choose to be counted as the proxy.
#[tokio::test]
async fn what_a_client_wrote_to_the_left_ends_no_search() {
    let node = behind_a_proxy().start().await;
    let proxy = node.client();
    for (left, entries) in (0..10).rev().zip([
        &b"\xff\xfe, 203.0.113.1"[..],
        b"\xc3\xa9,203.0.113.1",
        b"unknown, 203.0.113.1",
        b", , ,203.0.113.1",
        b"fe80::1%eth0, 203.0.113.1",
    ]) {
        let value = HeaderValue::from_bytes(entries).unwrap();
        let request = proxy.request(Method::GET, "/");
        assert_eq!(
            remaining(request.header("x-forwarded-for", value)).await,
            left,
            "{}",
            String::from_utf8_lossy(entries)
        );
    }
    assert!(node.log_lines("named no client").is_empty());
}
