//! How much of nginx one client can hold.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use testkit::{Client, Nginx, eventually, free_port, needs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Front, PATIENCE, connect, get};

/// `limit_conn` of `nginx.conf`.
const MOST_BODIES: usize = 64;
const MOST_REQUESTS: usize = 256;

fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("more files");
}

/// The client for which a node counts: `limiter::ClientId`.
fn client_of(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Addresses with every pattern of zero and other groups, and so with every way to shorten an address. The groups
/// consist of characters that are easy to misread.
fn addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for group in [0x0a0a, 0x000d, 0xffff, 0x2001, 0x005c] {
        for pattern in 0..=u8::MAX {
            let groups: [u16; 8] =
                std::array::from_fn(|number| if pattern >> number & 1 == 1 { group } else { 0 });
            addresses.push(Ipv6Addr::from(groups).into());
        }
    }
    for text in [
        "192.0.2.1",
        "10.10.10.10",
        "255.255.255.254",
        "::ffff:192.0.2.1",
        "::ffff:10.10.10.10",
        "::fffe:192.0.2.1",
        "64:ff9b::192.0.2.1",
    ] {
        addresses.push(text.parse().expect("an address"));
    }
    // nginx does not read this one, and it belongs to no client.
    addresses.retain(|address| address.to_canonical() != IpAddr::from([255; 4]));
    addresses
}

#[tokio::test]
async fn a_client_is_what_the_nodes_count() {
    needs!("nginx");
    let directives = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; \
                      location = /client { return 200 $shunt_client; }";
    let nowhere = ([127, 0, 0, 1], free_port()).into();
    let nginx = Nginx::start_with_directives(free_port(), &[nowhere], directives).await;
    let client = Client::new([127, 0, 0, 1].into(), nginx.address());
    for address in addresses() {
        let request = client.request(Method::GET, "/client");
        let request = request.header("X-Forwarded-For", address.to_string());
        let answer = request.send().await.expect("an answer");
        let key = answer.bytes().await.expect("a body");
        assert_eq!(key, client_of(address), "{address}");
    }
}

/// A request whose body begins and never ends, from a client that a proxy names.
async fn hold(front: &Front, client: &str) -> TcpStream {
    let mut connection = connect([127, 0, 0, 1], front.nginx.address()).await;
    let head = format!(
        "POST /shorten HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nContent-Length: 500\r\n\r\nu"
    );
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection
}

/// Waits until this many of them are refused, and returns how many are.
async fn refused(held: &mut [TcpStream], expected: usize) -> usize {
    let mut refused = vec![false; held.len()];
    let refused_now = eventually("nginx refuses the others", async || {
        for (connection, refused) in held.iter_mut().zip(&mut refused) {
            let mut answer = [0; 12];
            let read = timeout(Duration::from_millis(1), connection.read(&mut answer));
            if !*refused && let Ok(Ok(length)) = read.await {
                assert_eq!(&answer[..length], b"HTTP/1.1 429");
                *refused = true;
            }
        }
        let count = refused.iter().filter(|refused| **refused).count();
        (count >= expected).then_some(count)
    });
    refused_now.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_one_64_hold_no_more_slow_bodies_than_one_address() {
    needs!("nginx");
    allow_many_files();
    let front = Front::start_for_any_client().await;
    let mut held = Vec::new();
    for address in 1..=40 {
        for _ in 0..15 {
            held.push(hold(&front, &format!("2001:db8:0:1::{address:x}")).await);
        }
    }
    let expected = held.len() - MOST_BODIES;
    assert_eq!(refused(&mut held, expected).await, expected);
    // Clients of other networks are not affected, nor are requests of the same client without a body.
    let mut others = Vec::new();
    for network in 2..=40 {
        others.push(hold(&front, &format!("2001:db8:0:{network:x}::1")).await);
    }
    let head = "X-Forwarded-For: 2001:db8:0:1::ffff\r\n";
    for _ in 0..10 {
        let answer = front.exchange(&get("/", head)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(refused(&mut others, 0).await, 0);
    // A connection that ends makes room for another one.
    drop(held);
    let body = "url=https://example.com/";
    let post = super::post("/shorten", head, body);
    eventually("the client may send bodies again", async || {
        let answer = front.exchange(&post).await;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

/// The same as for a refusal by a node: `tests/it/api/exchange.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_nginx_has_the_form_of_the_nodes() {
    needs!("nginx");
    let front = Front::start_for_any_client().await;
    let client = "2001:db8:0:1::1";
    let mut held = Vec::new();
    for _ in 0..=MOST_BODIES {
        held.push(hold(&front, client).await);
    }
    assert_eq!(refused(&mut held, 1).await, 1);
    let named = format!("X-Forwarded-For: {client}\r\n");
    for path in ["/shorten", "/a.html"] {
        let answer = front.exchange(&super::post(path, &named, "url=a")).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 429 "), "{answer}");
        for line in [
            "content-type: application/problem+json",
            "retry-after: 1",
            "cache-control: no-store",
        ] {
            let times = head.lines().filter(|header| *header == line).count();
            assert_eq!(times, 1, "{line}: {answer}");
        }
        assert_eq!(body.find('\n'), Some(body.len() - 1), "{answer}");
        let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let members: Vec<&String> = problem.as_object().expect("an object").keys().collect();
        assert_eq!(members.len(), 4, "{problem}");
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"], "Too Many Requests");
        assert_eq!(problem["status"], 429);
        assert!(problem["error"].is_string(), "{problem}");
    }
}

/// A body of a bulk request waits in a file before any node sees its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_fills_little_of_the_disk_and_all_together_not_much_more() {
    needs!("nginx");
    let front = Front::start_for_any_client().await;
    let hold = async |path: &str, client: &str| {
        let mut connection = connect([127, 0, 0, 1], front.nginx.address()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nContent-Length: 4000000\r\n\r\n{{"
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        connection
    };
    let bulk = "/api/v1/links/bulk";
    let mut held = Vec::new();
    for path in [bulk, "//api/v1/links/x/../bulk/", bulk] {
        held.push(hold(path, "192.0.2.1").await);
    }
    assert_eq!(refused(&mut held, 1).await, 1, "two of one client");
    let named = "X-Forwarded-For: 192.0.2.1\r\n";
    let answer = front.exchange(&super::post(bulk, named, "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert!(answer.contains("\"Too many requests at once\""), "{answer}");
    let body = "url=https://example.com/";
    let answer = front.exchange(&super::post("/shorten", named, body)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut others = Vec::new();
    for number in 2..=33 {
        others.push(hold(bulk, &format!("192.0.2.{number}")).await);
    }
    assert_eq!(refused(&mut others, 2).await, 2, "32 of all clients");
}

/// Requests without a body are held while the nodes are silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_has_no_more_than_256_requests_under_way() {
    needs!("nginx");
    allow_many_files();
    let front = Front::start_for_any_client().await;
    for node in &front.nodes {
        node.signal(Signal::STOP);
    }
    let mut held = Vec::new();
    for number in 0..300 {
        let mut connection = connect([127, 0, 0, 1], front.nginx.address()).await;
        let head = format!("X-Forwarded-For: 2001:db8:0:1::{number:x}\r\n");
        connection.write_all(&get("/", &head)).await.expect("sent");
        held.push(connection);
    }
    let refused = refused(&mut held, 300 - MOST_REQUESTS).await;
    for node in &front.nodes {
        node.signal(Signal::CONT);
    }
    assert_eq!(refused, 300 - MOST_REQUESTS);
}

/// `client_header_timeout` bounds the whole head, even if bytes go on arriving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_byte_by_byte_ends_after_ten_seconds() {
    needs!("nginx");
    let front = Front::start().await;
    let mut connection = connect([127, 0, 0, 1], front.nginx.address()).await;
    let began = Instant::now();
    let start = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    connection.write_all(start).await.expect("sent");
    loop {
        assert!(began.elapsed() < PATIENCE, "it goes on");
        let mut answer = [0; 64];
        let read = timeout(Duration::from_millis(200), connection.read(&mut answer));
        match read.await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) if connection.write_all(b"a").await.is_err() => break,
            Err(_) => {}
        }
    }
    assert!(
        began.elapsed() > Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
}
