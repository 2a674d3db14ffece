//! Encrypted connections: to one server, to a Sentinel group and to a cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::{NamedTempFile, TempDir};
use testkit::{Node, NodeBuilder, Redis, eventually, free_port, needs};

/// An authority, and a certificate that it has signed for 127.0.0.1.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let openssl = |arguments: &[&str]| {
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                ])
                .args(["-nodes", "-days", "1"])
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .expect("openssl");
            assert!(made.status.success(), "{made:?}");
        };
        openssl(&[
            "-subj",
            "/CN=authority",
            "-keyout",
            "authority.key",
            "-out",
            "authority.pem",
        ]);
        openssl(&[
            "-subj",
            "/CN=redis",
            "-keyout",
            "server.key",
            "-out",
            "server.pem",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Arguments for a server that takes encrypted connections on this port.
    fn arguments(&self, port: u16) -> Vec<String> {
        let file = |name| self.file(name).display().to_string();
        [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", file("server.pem")),
            ("--tls-key-file", file("server.key")),
            ("--tls-ca-cert-file", file("authority.pem")),
            ("--tls-auth-clients", "no".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    fn node(&self, url: &str) -> NodeBuilder {
        let authority = self.file("authority.pem").display().to_string();
        node(url).env("SSL_CERT_FILE", &authority)
    }
}

fn node(url: &str) -> NodeBuilder {
    Node::builder()
        .set("redis.url", url)
        .set("limiter.quota", "10/hour")
        .set("limiter.redis.timeout", "5s")
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Checks that a node counts in Redis, on encrypted connections only.
async fn counts_in(node: &Node, servers: &[&Redis], encrypted_ports: &[u16]) {
    let admitted = async |address| {
        let client = node.client_at(address);
        let mut admitted = 0;
        for _ in 0..15 {
            admitted += usize::from(client.get("/").await.status == 200);
        }
        admitted
    };
    // On a busy machine, connecting may take longer than a node waits for it at its start.
    node.breaker_is(false).await;
    for number in 1..=8 {
        assert_eq!(admitted([127, 0, 61, number]).await, 10);
    }
    let local = node.metric("shunt_limiter_decisions_total", &["source=\"local\""]);
    assert_eq!(local.await, 0.0);
    for (server, port) in servers.iter().zip(encrypted_ports) {
        assert!(server.calls("zadd").await > 0);
        let plain = format!(" laddr=127.0.0.1:{} ", server.port());
        let encrypted = format!(" laddr=127.0.0.1:{port} ");
        let clients: String = server.command("CLIENT LIST TYPE normal").await;
        let of_others = clients.lines().filter(|line| line.contains(&plain));
        // The one that asks, and Sentinels, which give theirs a name.
        assert_eq!(
            of_others.filter(|line| line.contains(" name= ")).count(),
            1,
            "{clients}"
        );
        assert!(clients.contains(&encrypted), "{clients}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_is_reached_over_tls() {
    needs!("redis-server", "openssl");
    let (certificates, port) = (Certificates::make(), free_port());
    let redis = Redis::start_with(&borrowed(&certificates.arguments(port))).await;
    let node = certificates
        .node(&format!("rediss://127.0.0.1:{port}"))
        .start()
        .await;
    counts_in(&node, &[&redis], &[port]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_group_is_reached_over_tls() {
    needs!("redis-server", "openssl");
    let certificates = Certificates::make();
    let ports = [free_port(), free_port()];
    let mut arguments = certificates.arguments(ports[0]);
    arguments.extend(["--tls-replication".to_owned(), "yes".to_owned()]);
    let master = Redis::start_with(&borrowed(&arguments)).await;
    let sentinel = sentinel(&certificates, ports[1]).await;
    let monitor = format!("SENTINEL MONITOR mymaster 127.0.0.1 {} 1", ports[0]);
    sentinel.0.command::<()>(&monitor).await;
    let url = format!("rediss+sentinel://127.0.0.1:{}/mymaster", ports[1]);
    let node = certificates.node(&url).start().await;
    counts_in(&node, &[&master], &[ports[0]]).await;
    let clients: String = sentinel.0.command("CLIENT LIST").await;
    assert!(
        clients.contains(&format!(" laddr=127.0.0.1:{} ", ports[1])),
        "{clients}"
    );
}

/// A Sentinel that takes encrypted connections on this port, and its file.
async fn sentinel(certificates: &Certificates, port: u16) -> (Redis, NamedTempFile) {
    let file = tempfile::Builder::new()
        .suffix(".conf")
        .tempfile()
        .expect("a file");
    let mut lines: Vec<String> = certificates
        .arguments(port)
        .chunks(2)
        .map(|pair| format!("{} {}\n", pair[0].trim_start_matches('-'), pair[1]))
        .collect();
    lines.push("tls-replication yes\n".to_owned());
    std::fs::write(file.path(), lines.concat()).expect("written");
    let path: &Path = file.path();
    (
        Redis::start_sentinel(&path.display().to_string()).await,
        file,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_reached_over_tls() {
    needs!("redis-server", "openssl");
    let certificates = Certificates::make();
    let ports = [free_port(), free_port()];
    let mut servers = Vec::new();
    for (number, port) in ports.into_iter().enumerate() {
        let mut arguments = certificates.arguments(port);
        let bus = free_port().to_string();
        for argument in [
            "--cluster-enabled",
            "yes",
            "--tls-cluster",
            "yes",
            "--cluster-port",
            &bus,
        ] {
            arguments.push(argument.to_owned());
        }
        let server = Redis::start_with(&borrowed(&arguments)).await;
        let slots = ["0 8191", "8192 16383"][number];
        server
            .command::<()>(&format!("CLUSTER ADDSLOTSRANGE {slots}"))
            .await;
        server
            .command::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1))
            .await;
        servers.push((server, bus));
    }
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", ports[1], servers[1].1);
    servers[0].0.command::<()>(&meet).await;
    for (server, _) in &servers {
        eventually("the cluster is up", async || {
            let info: String = server.command("CLUSTER INFO").await;
            let is_up = info.contains("cluster_state:ok") && info.contains("cluster_size:2");
            is_up.then_some(())
        })
        .await;
    }
    // The other one is found out.
    let url = format!("rediss+cluster://127.0.0.1:{}", ports[0]);
    let node = certificates.node(&url).start().await;
    counts_in(&node, &[&servers[0].0, &servers[1].0], &ports).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_unknown_authority_is_not_accepted() {
    needs!("redis-server", "openssl");
    let certificates = Certificates::make();
    let port = free_port();
    let _redis = Redis::start_with(&borrowed(&certificates.arguments(port))).await;
    for url in [
        format!("rediss://127.0.0.1:{port}"),
        format!("rediss+sentinel://127.0.0.1:{port}/mymaster"),
        format!("rediss+cluster://127.0.0.1:{port}"),
    ] {
        let node = node(&url).start().await;
        // On a busy machine, the first attempts may fail because they take too long.
        eventually("the node says why", async || {
            let lines = node.log_lines("certificate");
            lines
                .iter()
                .any(|line| line.contains("UnknownIssuer"))
                .then_some(())
        })
        .await;
        assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    }
}
