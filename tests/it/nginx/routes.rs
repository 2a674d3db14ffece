//! The limits of body and time are per path, and nginx has those of the nodes: `src/public/limits.rs`.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use shunt::public::{EXCEPTIONS, USUAL};
use testkit::{Answer, Client, Nginx, Node, Postgres, configuration, free_port, needs};
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use super::{Front, post, status};
use crate::{
    api::exchange::{JSON, assert_problem, assert_status, send, unlimited},
    api_v1::bulk::{different, in_chunks, results, slow_down, statuses},
    keys::create_for,
};

/// The value of a directive, of all that stand in `text`.
fn value<'a>(text: &'a str, directive: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find_map(|line| {
        let value = line.strip_prefix(directive)?.strip_prefix(' ')?;
        value.strip_suffix(';')
    })
}

fn bytes(size: &str) -> usize {
    let (number, unit) = size.split_at(size.len() - 1);
    let factor = match unit {
        "k" => 1 << 10,
        "m" => 1 << 20,
        _ => panic!("{size}"),
    };
    number.parse::<usize>().expect("a number") * factor
}

fn seconds(time: &str) -> Duration {
    let seconds = time
        .strip_suffix('s')
        .and_then(|number| number.parse().ok());
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("{time}")))
}

/// The locations with limits of their own, by their paths, with all that stands in each.
fn locations(proxy: &str) -> BTreeMap<String, &str> {
    let locations = proxy.split("\nlocation ~ ^").skip(1);
    locations
        .map(|text| {
            let (path, rest) = text.split_once("/?$ {\n").expect("a path");
            let (block, _) = rest.split_once("\n}").expect("an end");
            (path.to_owned(), block)
        })
        .collect()
}

#[test]
fn nginx_has_the_limits_of_the_nodes() {
    let read = |file: &str| fs::read_to_string(configuration(file)).expect(file);
    let (nginx, proxy) = (read("nginx.conf"), read("proxy.conf"));
    let body = value(&nginx, "client_max_body_size").expect("a size");
    assert_eq!(bytes(body), USUAL.body);
    let (for_all, _) = proxy.split_once("\nlocation ").expect("a location");
    let wait = value(for_all, "proxy_read_timeout").expect("a time");
    assert_eq!(seconds(wait), USUAL.nginx_waits);
    let mut there = locations(&proxy);
    for exception in &EXCEPTIONS {
        let path = exception.path;
        let block = there.remove(path).unwrap_or_else(|| panic!("no {path}"));
        let body = value(block, "client_max_body_size").expect(path);
        assert_eq!(bytes(body), exception.limits.body, "{path}");
        let wait = value(block, "proxy_read_timeout").expect(path);
        assert_eq!(seconds(wait), exception.limits.nginx_waits, "{path}");
        assert_eq!(value(block, "proxy_pass"), Some("http://shunt"), "{path}");
        // With one, it would inherit none of those that name the client.
        assert!(!block.contains("proxy_set_header"), "{path}");
    }
    assert!(there.is_empty(), "the nodes do not know {there:?}");
}

/// A body of exactly this length, for one link.
fn body(length: usize) -> String {
    let body = json!({ "links": [{ "url": "https://example.com/" }] }).to_string();
    let padding = " ".repeat(length - body.len());
    body + &padding
}

async fn send_to(client: &Client, path: &str, key: &str, body: String) -> Answer {
    let request = client.request(Method::POST, path).bearer_auth(key);
    // What nginx answers by itself is not in the document of the API.
    let request = request.header("content-type", JSON).body(body);
    Answer::to(request).await.expect("an answer")
}

#[tokio::test]
async fn the_longest_body_of_each_path_passes_and_a_longer_one_is_a_problem() {
    needs!("nginx");
    let front = Front::start().await;
    let builder = Node::builder().set("database.url", &front.database());
    let key = create_for(&builder, "anna", "create,manage", &[]);
    let client = front.client_at([127, 0, 0, 1]);
    for exception in &EXCEPTIONS {
        // Every spelling that a node takes for the path.
        for path in [
            exception.path.to_owned(),
            format!("{}/", exception.path),
            exception.path.replace("links", "%6Cinks"),
        ] {
            let longest = exception.limits.body;
            let answer = send_to(&client, &path, &key, body(longest)).await;
            assert_status(&answer, 200, &path);
            for _ in 0..3 {
                let refused = send_to(&client, &path, &key, body(longest + 1)).await;
                assert_problem(&refused, 413, &path);
                assert_eq!(refused.header("cache-control"), Some("no-store"));
            }
            // A node reads them to their end, or nginx would take it for dead.
            for key in ["", "shunt_nobody"] {
                let refused = send_to(&client, &path, key, body(longest)).await;
                assert_problem(&refused, 401, &path);
            }
            front.assert_both_nodes_serve(&path).await;
        }
        let request = client.request(Method::PATCH, exception.path);
        let request = request.bearer_auth(&key).header("content-type", JSON);
        let refused = send(request.body(body(exception.limits.body))).await;
        assert_problem(&refused, 413, "another method");
        front.assert_both_nodes_serve("another method").await;
    }
    for path in [
        "/shorten",
        "/api/v1/links",
        "/api/v1/links/bulky",
        "/api/v1/links/bulk/codes",
        "/x/api/v1/links/bulk",
    ] {
        let refused = send_to(&client, path, &key, body(USUAL.body + 1)).await;
        assert_problem(&refused, 413, path);
        let passed = send_to(&client, path, &key, body(USUAL.body)).await;
        assert_ne!(passed.status, 413, "{path}");
    }
    front.assert_both_nodes_serve("long bodies elsewhere").await;
}

/// A server that takes requests and says nothing.
async fn silent() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    address
}

#[tokio::test]
async fn nginx_waits_for_an_answer_as_long_as_the_path_needs() {
    needs!("nginx");
    let nginx = Nginx::start(free_port(), &[silent().await]).await;
    let waited = async |request: Vec<u8>, at_most: Duration| {
        let started = Instant::now();
        let mut connection = super::connect([127, 0, 0, 1], nginx.address()).await;
        connection.write_all(&request).await.expect("sent");
        let answer = timeout(at_most, super::read_to_end(connection)).await;
        answer
            .ok()
            .map(|answer| (status(&answer), started.elapsed()))
    };
    let usual = post("/api/v1/links", "", "url=https://example.com/");
    let bulk = post(EXCEPTIONS[0].path, "", "{}");
    let margin = Duration::from_secs(3);
    let (usual, bulk) = tokio::join!(
        waited(usual, USUAL.nginx_waits + margin),
        waited(bulk, USUAL.nginx_waits + margin),
    );
    let (status, after) = usual.expect("an answer");
    assert_eq!(status, 504);
    assert!(after >= USUAL.nginx_waits, "{after:?}");
    assert_eq!(bulk, None, "nginx goes on waiting");
}

/// Longer than nginx waits for any other answer: each link takes 50 ms.
#[tokio::test]
async fn an_answer_that_takes_longer_than_any_other_comes_through() {
    needs!("nginx", "postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("database.timeout", "5s")
        .set("http.trusted_proxies", "127.0.0.1/32");
    let node = builder.start().await;
    let key = create_for(&builder, "anna", "create,manage", &[]);
    let nginx = Nginx::start(free_port(), &[node.address()]).await;
    slow_down(&database, 50).await;
    let links = (USUAL.nginx_waits.as_millis() / 50 + 20) as usize;
    let body = json!({ "links": different(links) }).to_string();
    let client = Client::new([127, 0, 0, 1].into(), nginx.address());
    let started = Instant::now();
    let answer = send_to(&client, EXCEPTIONS[0].path, &key, body).await;
    assert_status(&answer, 200, "slow links");
    assert!(started.elapsed() > USUAL.nginx_waits);
    assert_eq!(statuses(&results(&answer)), vec![201; links]);
}

/// nginx passes it on with its length.
#[tokio::test]
async fn a_body_in_chunks_is_as_long_as_any_other() {
    needs!("nginx");
    let front = Front::start().await;
    let builder = Node::builder().set("database.url", &front.database());
    let key = create_for(&builder, "anna", "create,manage", &[]);
    let longest = EXCEPTIONS[0].limits.body;
    for (length, expected) in [(longest, 200), (longest + 1, 413)] {
        let request = in_chunks(&key, &body(length));
        let answer = front.exchange(&request).await;
        assert_eq!(status(&answer), expected, "{length}: {answer:.500}");
    }
    front.assert_both_nodes_serve("bodies in chunks").await;
}
