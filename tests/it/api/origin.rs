//! What a short link begins with, and that it never leads back to the service.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::Method;
use testkit::{Client, Node};

use super::exchange::{
    assert_page, assert_problem, exchange, from_browser, post_form, raw_status, send, unlimited,
};

async fn short_url(client: &Client, headers: &[(&str, &str)]) -> String {
    let mut request = post_form(client, &[("url", "https://example.com/")]);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(request).await;
    let code = answer.code();
    let url = answer.json()["short_url"].as_str().unwrap().to_owned();
    let base = url.strip_suffix(&format!("/{code}"));
    base.unwrap_or_else(|| panic!("{url} does not end with {code}"))
        .to_owned()
}

#[tokio::test]
async fn a_short_url_begins_with_the_host_that_was_asked() {
    let node = unlimited().start().await;
    let client = node.client();
    for (host, expected) in [
        ("sho.rt", "http://sho.rt"),
        ("sho.rt:8081", "http://sho.rt:8081"),
        ("SHO.RT:80", "http://sho.rt"),
        ("192.0.2.1:8080", "http://192.0.2.1:8080"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
    ] {
        assert_eq!(
            short_url(&client, &[("host", host)]).await,
            expected,
            "{host}"
        );
    }
    // HTTP/1.0 has no Host header.
    let request = "POST /shorten HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 24\r\n\r\nurl=https://example.com/";
    let answer = exchange(node.address(), request.as_bytes()).await;
    let expected = format!("\"short_url\":\"http://{}/", node.address());
    assert!(answer.contains(&expected), "{answer}");
}

#[tokio::test]
async fn a_short_url_begins_with_the_public_url_if_there_is_one() {
    for (public_url, expected) in [
        ("https://sho.rt", "https://sho.rt"),
        ("https://sho.rt/", "https://sho.rt"),
        ("http://sho.rt:8080/s", "http://sho.rt:8080/s"),
    ] {
        let node = unlimited().set("http.public_url", public_url).start().await;
        let headers = [("host", "other.example"), ("x-forwarded-proto", "https")];
        assert_eq!(
            short_url(&node.client(), &headers).await,
            expected,
            "{public_url}"
        );
    }
}

#[tokio::test]
async fn https_is_believed_from_a_trusted_proxy_only() {
    let node = unlimited()
        .set("http.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let (proxy, stranger) = (node.client(), node.client_at([127, 0, 0, 7]));
    for (client, proto, expected) in [
        (&proxy, "https", "https://sho.rt"),
        (&proxy, "HTTPS", "https://sho.rt"),
        (&proxy, "http", "http://sho.rt"),
        (&proxy, "javascript", "http://sho.rt"),
        (&proxy, "", "http://sho.rt"),
        (&stranger, "https", "http://sho.rt"),
    ] {
        let headers = [
            ("host", "sho.rt"),
            ("x-forwarded-proto", proto),
            ("x-forwarded-host", "evil.example"),
        ];
        assert_eq!(short_url(client, &headers).await, expected, "{proto}");
    }
}

/// Each proxy of a chain may append the scheme that it was asked with. The client asked the first proxy.
#[tokio::test]
async fn of_several_schemes_the_first_is_the_client_s() {
    let node = unlimited()
        .set("http.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let proxy = node.client();
    for (protos, expected) in [
        (&["https, https"][..], "https://sho.rt"),
        (&["https,https"], "https://sho.rt"),
        (&["HTTPS , Http"], "https://sho.rt"),
        (&["https", "https"], "https://sho.rt"),
        (&["https", "http"], "https://sho.rt"),
        (&["http, https"], "http://sho.rt"),
        (&["http", "https"], "http://sho.rt"),
        // An entry that is no scheme of a request is skipped.
        (&["javascript, https"], "https://sho.rt"),
        (&[", https"], "https://sho.rt"),
        (&["\u{e9}", "https"], "https://sho.rt"),
        (&["wss"], "http://sho.rt"),
    ] {
        let mut headers = vec![("host", "sho.rt")];
        headers.extend(protos.iter().map(|proto| ("x-forwarded-proto", *proto)));
        assert_eq!(short_url(&proxy, &headers).await, expected, "{protos:?}");
    }
}

/// Posts a URL with exactly these lines at the top, and returns the answer.
async fn post_raw(node: &Node, first_line: &str, headers: &[u8]) -> String {
    let address = ([127, 0, 0, 1], node.address().port()).into();
    let head = format!("{first_line}\r\n");
    let rest = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 24\r\n\r\n\
        url=https://example.com/";
    exchange(address, &[head.as_bytes(), headers, rest].concat()).await
}

/// Without this a short link could begin with an address that the client cannot reach.
#[tokio::test]
async fn a_host_that_cannot_be_read_is_rejected_instead_of_left_out() {
    let node = unlimited().start().await;
    for host in [
        "Host: sh\u{f6}rt.example\r\n".as_bytes(),
        b"Host: sh\xf6rt.example\r\n",
        b"Host: \xff\r\n",
        b"Host:\r\n",
        b"Host: \r\n",
        b"Host: sho.rt/\r\n",
        b"Host: sho.rt\\\r\n",
        b"Host: a, b\r\n",
        b"Host: http://sho.rt\r\n",
        // A URL parser drops this byte, and the link would begin with evil.examplex.
        b"Host: evil.example\tx\r\n",
        b"Host: sho.rt:80\t81\r\n",
        b"Host: sho\t.rt\r\n",
        b"Host: sho.rt?\r\n",
        b"Host: sho.rt#\r\n",
        b"Host: @sho.rt\r\n",
        b"Host: \"sho.rt\"\r\n",
        b"Host: sho`rt\r\n",
        b"Host: sho{rt}\r\n",
        b"Host: evil.example%C2%ADx\r\n",
        b"Host: evil%2Eexample\r\n",
        b"Host: sho.rt,evil.example\r\n",
    ] {
        for version in ["1.1", "1.0"] {
            let answer = post_raw(&node, &format!("POST /shorten HTTP/{version}"), host).await;
            assert_eq!(raw_status(&answer), 400, "{host:?}: {answer}");
            assert!(answer.contains("Host"), "{host:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_request_line_with_a_whole_url_says_the_host() {
    let node = unlimited().start().await;
    // RFC 9112, 3.2.2: then the Host header does not count.
    let line = "POST http://sho.rt:8081/shorten HTTP/1.1";
    let answer = post_raw(&node, line, b"Host: other.example\r\n").await;
    assert!(answer.contains("\"http://sho.rt:8081/"), "{answer}");
    let line = "POST http://user@sho.rt/shorten HTTP/1.1";
    let answer = post_raw(&node, line, b"Host: sho.rt\r\n").await;
    assert_eq!(raw_status(&answer), 400, "{answer}");
}

/// A node can listen on `0.0.0.0`, but a link cannot lead there.
#[tokio::test]
async fn without_a_host_a_link_needs_another_address_to_begin_with() {
    let builder = unlimited().set("http.bind", "0.0.0.0:0");
    let node = builder.clone().start().await;
    let answer = post_raw(&node, "POST /shorten HTTP/1.0", b"").await;
    assert_eq!(raw_status(&answer), 400, "{answer}");
    let node = builder
        .set("http.public_url", "https://sho.rt")
        .start()
        .await;
    let answer = post_raw(&node, "POST /shorten HTTP/1.0", b"").await;
    assert!(answer.contains("\"https://sho.rt/"), "{answer}");
}

#[tokio::test]
async fn a_host_that_is_none_is_rejected() {
    let node = unlimited().start().await;
    for host in [
        "evil.example/?x=",
        "sho.rt/path",
        "sho.rt#",
        "user@sho.rt",
        "sho rt",
        "sho.rt:99999",
        "<script>",
    ] {
        let request = post_form(&node.client(), &[("url", "https://example.com/")]);
        let answer = send(request.header("host", host)).await;
        assert_problem(&answer, 400, host);
    }
}

/// For each target, whether a node that is asked as `host` rejects it as a loop.
async fn assert_loops(node: &Node, host: &str, targets: &[(String, bool)]) {
    let client = node.client();
    for (target, is_loop) in targets {
        let request = post_form(&client, &[("url", target)]).header("host", host);
        let answer = send(request).await;
        let expected = if *is_loop { 422 } else { 200 };
        assert_eq!(
            answer.status, expected,
            "{target} asked at {host}: {answer:?}"
        );
        if *is_loop {
            assert_problem(&answer, 422, target);
        }
    }
}

fn targets<const N: usize>(targets: [(&str, bool); N], port: u16) -> Vec<(String, bool)> {
    let with_port =
        |(target, is_loop): (&str, bool)| (target.replace("PORT", &port.to_string()), is_loop);
    targets.map(with_port).to_vec()
}

#[tokio::test]
async fn a_link_to_the_service_by_the_name_it_was_asked_by_is_rejected() {
    let node = unlimited().start().await;
    let port = node.address().port();
    let cases = [
        ("http://sho.rt/Ab3xY9", true),
        ("https://sho.rt/", true),
        ("HTTPS://SHO.RT", true),
        ("http://sho.rt:80/shorten", true),
        ("http://sho.rt:8081/", false),
        ("http://www.sho.rt/", false),
        ("http://sho.rt.example.com/", false),
        ("http://example.com/?u=http://sho.rt/", false),
    ];
    assert_loops(&node, "sho.rt", &targets(cases, port)).await;
    let cases = [("http://sho.rt:8081/x", true), ("https://sho.rt/x", false)];
    assert_loops(&node, "sho.rt:8081", &targets(cases, port)).await;
}

#[tokio::test]
async fn a_link_to_the_public_url_is_rejected_whatever_the_host_header_says() {
    let node = unlimited()
        .set("http.public_url", "https://sho.rt")
        .start()
        .await;
    let cases = [
        ("https://sho.rt/Ab3xY9", true),
        ("http://sho.rt/Ab3xY9", true),
        ("https://inside.example:8080/", true),
        ("https://sho.rt.example/", false),
    ];
    let cases = targets(cases, node.address().port());
    assert_loops(&node, "inside.example:8080", &cases).await;
}

#[tokio::test]
async fn a_link_to_the_listener_by_any_local_name_is_rejected() {
    let node = unlimited().start().await;
    let cases = [
        ("http://localhost:PORT/", true),
        ("https://LOCALHOST:PORT/x", true),
        ("http://shunt.localhost:PORT/", true),
        ("http://127.0.0.1:PORT/", true),
        ("http://127.1:PORT/", true),
        ("http://2130706433:PORT/", true),
        ("http://0.0.0.0:PORT/", true),
        ("http://[::1]:PORT/", true),
        ("http://[::ffff:127.0.0.1]:PORT/", true),
        ("http://localhost:1/", false),
        ("http://example.com:PORT/", false),
    ];
    let cases = targets(cases, node.address().port());
    assert_loops(&node, "sho.rt", &cases).await;
}

#[tokio::test]
async fn a_dot_behind_the_name_does_not_hide_a_loop() {
    let node = unlimited()
        .set("http.public_url", "https://sho.rt")
        .start()
        .await;
    // With the dot of the root it is the same name in the DNS, so the link would lead in circles.
    let cases = [
        ("https://sho.rt./Ab3xY9", true),
        ("http://inside.example./", true),
        ("http://localhost.:PORT/", true),
    ];
    let cases = targets(cases, node.address().port());
    assert_loops(&node, "inside.example", &cases).await;
}

#[tokio::test]
async fn a_link_that_would_loop_is_rejected_to_a_browser_too() {
    let node = unlimited().start().await;
    let own = format!("http://{}/", node.address());
    let request = node.client().request(Method::POST, "/shorten");
    let answer = send(from_browser(request.form(&[("url", &own)]))).await;
    assert_page(&answer, 422, &own);
}

/// The addresses of this machine's interfaces, as the kernel lists them, without those that need a zone.
fn own_addresses() -> Vec<IpAddr> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").expect("Linux");
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let local = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    let mut addresses: Vec<IpAddr> = local
        .map(|pair| pair[0].trim_start_matches("|-- ").parse().expect(pair[0]))
        .collect();
    // Without IPv6 there is no such file.
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    for line in table.lines() {
        let address = u128::from_str_radix(&line[..32], 16).expect(line);
        addresses.push(Ipv6Addr::from(address).into());
    }
    addresses.retain(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    });
    addresses
}

#[tokio::test]
async fn a_node_on_every_address_leads_to_none_of_its_machine_s_own() {
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let node = unlimited().set("http.bind", bind).start().await;
        let port = node.address().port();
        let client = Client::new([127, 0, 0, 1].into(), ([127, 0, 0, 1], port).into());
        let own = own_addresses();
        let elsewhere: IpAddr = [203, 0, 113, 77].into();
        assert!(!own.contains(&elsewhere));
        let mut cases = vec![
            (SocketAddr::new(elsewhere, port), false),
            (SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), true),
            (([0x2001, 0xdb8, 0, 0, 0, 0, 0, 77], port).into(), false),
        ];
        for address in own {
            cases.push((SocketAddr::new(address, port), true));
            cases.push((SocketAddr::new(address, 1), false));
            if let IpAddr::V4(address) = address {
                let mapped = address.to_ipv6_mapped();
                cases.push((SocketAddr::new(mapped.into(), port), true));
            }
        }
        for (target, is_loop) in cases {
            for scheme in ["http", "https"] {
                let target = format!("{scheme}://{target}/Ab3xY9");
                let request = post_form(&client, &[("url", &target)]).header("host", "sho.rt");
                let answer = send(request).await;
                let expected = if is_loop { 422 } else { 200 };
                assert_eq!(answer.status, expected, "{target} on {bind}: {answer:?}");
            }
        }
        // A name is not looked up.
        let target = format!("http://shunt.example:{port}/");
        let request = post_form(&client, &[("url", &target)]).header("host", "sho.rt");
        send(request).await.code();
    }
}

#[tokio::test]
async fn a_node_on_one_address_may_lead_to_the_others() {
    let node = unlimited().start().await;
    let others = own_addresses().into_iter().filter(|a| !a.is_loopback());
    let others: Vec<_> = others.collect();
    if others.is_empty() {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "this machine has no address but loopback");
        eprintln!("skipped: this machine has no address but loopback");
        return;
    }
    let own = format!("http://{}/", node.address());
    let request = post_form(&node.client(), &[("url", &own)]);
    let answer = send(request.header("host", "sho.rt")).await;
    assert_problem(&answer, 422, "its own address");
    for address in others {
        let target = format!(
            "http://{}/",
            SocketAddr::new(address, node.address().port())
        );
        let request = post_form(&node.client(), &[("url", &target)]);
        send(request.header("host", "sho.rt")).await.code();
    }
}
