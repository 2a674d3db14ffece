//! Clients that only hold connections do not stop other clients.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use testkit::{Cluster, free_port, needs};
use tokio::net::TcpSocket;

/// Opens a connection to nginx from an address of its own.
async fn open(cluster: &Cluster, from: [u8; 4]) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a loopback address");
    socket
        .connect(cluster.nginx.address())
        .await
        .expect("nginx listens")
}

fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("more files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_and_slow_connections_do_not_stop_other_clients() {
    needs!("redis-server", "postgres", "nginx");
    use tokio::io::AsyncWriteExt;

    allow_many_files();
    let cluster = Cluster::start(2, free_port(), |node| {
        node.set("limiter.quota", "100000/minute")
    })
    .await;
    let mut held = Vec::new();
    for number in 0..2_000_u32 {
        // 200 for each address, less than nginx allows.
        let from = [127, 1, 0, u8::try_from(number / 200 + 1).expect("small")];
        let mut connection = open(&cluster, from).await;
        let sent: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow:",
            2 => b"POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\nContent-Type: application/json\r\n\r\n{",
            _ => b"GET / HT",
        };
        connection.write_all(sent).await.expect("sent");
        held.push(connection);
    }
    let client = cluster.client_at([127, 0, 0, 1]);
    let code = client.shorten("https://example.com/").await.code();
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let asked = Instant::now();
        assert_eq!(client.get(&format!("/{code}")).await.status, 302);
        slowest = slowest.max(asked.elapsed());
    }
    // Far less than nginx waits for the slow ones (10 s).
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    println!("2,000 held connections: slowest of 100 redirects {slowest:?}");

    // Only complete requests have reached a node.
    let mut counted = 0.0;
    for node in &cluster.nodes {
        counted += node.metric("shunt_http_requests_total", &[]).await;
    }
    assert_eq!(counted, 101.0);
}
