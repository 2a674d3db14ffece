//! nginx and the nodes together: a node takes what nginx lets through, and no client can use one against the other.

mod certificate;
mod clients;
mod limits;
mod log;
mod passwords;
mod refusals;
mod requests;
mod rotation;
mod routes;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Client, Nginx, Node, NodeBuilder, eventually, free_port};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than every timeout of nginx and of a node.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two nodes with the same file of links behind nginx, without a limit.
struct Front {
    nginx: Nginx,
    nodes: Vec<Node>,
    links: TempDir,
}

impl Front {
    async fn start() -> Self {
        Self::start_with("", |node| node).await
    }

    /// nginx takes the client's address from `X-Forwarded-For`.
    async fn start_for_any_client() -> Self {
        let believe = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;";
        Self::start_with(believe, |node| node).await
    }

    /// `directives` go into nginx's server block.
    async fn start_with(
        directives: &'static str,
        configure: impl Fn(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let links = tempfile::tempdir().expect("a temporary directory");
        let file = format!("sqlite://{}", links.path().join("links.db").display());
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let node = Node::builder()
                .set("database.url", &file)
                .set("http.trusted_proxies", "127.0.0.1/32")
                .set("limiter.exempt", "0.0.0.0/0, ::/0");
            nodes.push(configure(node).start().await);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
        let nginx = Nginx::start_with_directives(free_port(), &addresses, directives).await;
        Self {
            nginx,
            nodes,
            links,
        }
    }

    /// For `database.url`.
    fn database(&self) -> String {
        format!("sqlite://{}", self.links.path().join("links.db").display())
    }

    fn client_at(&self, address: [u8; 4]) -> Client {
        Client::without_keep_alive(IpAddr::from(address), self.nginx.address())
    }

    /// Sends these bytes on a new connection, and returns all that comes back until the connection ends.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut connection = connect([127, 0, 0, 1], self.nginx.address()).await;
        // nginx may reject the request before its end.
        let _ = connection.write_all(request).await;
        read_to_end(connection).await
    }

    /// Requires that nginx still sends requests to both nodes, at once and without a second try.
    async fn assert_both_nodes_serve(&self, after: &str) {
        let entries = || {
            let mut entries = self.log();
            entries.retain(|entry| entry["client"] == "127.7.7.7");
            entries
        };
        let before = entries().len();
        let client = self.client_at([127, 7, 7, 7]);
        for _ in 0..6 {
            let answer = client.get("/?both").await;
            assert_eq!(answer.status, 200, "after {after}: {answer:?}");
        }
        let last = eventually("nginx has written its log", async || {
            let last = entries().split_off(before);
            (last.len() == 6).then_some(last)
        })
        .await;
        for node in &self.nodes {
            let asked = node.address().to_string();
            assert!(
                last.iter().any(|entry| entry["upstream"] == asked),
                "after {after}, {asked} is not asked: {last:?}"
            );
        }
        assert!(
            last.iter().all(|entry| entry["upstream_status"] == "200"),
            "after {after}: {last:?}"
        );
    }

    /// The lines of the access log.
    fn log(&self) -> Vec<Value> {
        let log = self.nginx.access_log_bytes();
        // nginx may still be writing the last line.
        let lines = log.split_inclusive(|&byte| byte == b'\n');
        let whole = lines.filter(|line| line.ends_with(b"\n"));
        whole
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a loopback address");
    socket.connect(to).await.expect("nginx listens")
}

async fn read_to_end(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset also ends the connection.
    let _ = timeout(PATIENCE, connection.read_to_end(&mut answer))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer, without `100 Continue`; 0 if there is no answer.
fn status(answer: &str) -> u16 {
    let answer = answer
        .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap_or(answer);
    let status = answer.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A `GET` on a connection that ends with the answer. Each line of `headers` has its line end.
fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

/// A `POST` of a form, likewise.
fn post(target: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
