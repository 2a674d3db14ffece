//! One limit over all nodes. Neither a client's headers nor the clocks of nodes change it.

use futures_util::future::join_all;
use reqwest::Method;
use testkit::{Answer, Cluster, NodeBuilder, free_port, needs};

/// The timeout is longer than a busy machine stalls: no test here is about a Redis that is away.
fn patient(node: NodeBuilder) -> NodeBuilder {
    node.set("limiter.redis.timeout", "10s")
}

const AT_ONCE: usize = 64;

/// Lets clients send 64 requests at once, one client after the other. Each must have exactly its quota.
async fn assert_exact(what: &str, cluster: &Cluster, clients: u8, forge: bool) {
    let (mut admitted, mut over) = (0, 0);
    for number in 1..=clients {
        let count = fire(cluster, [127, 0, 6, number], forge).await;
        admitted += count;
        over += count.saturating_sub(10);
    }
    let sent = AT_ONCE * usize::from(clients);
    println!(
        "{what}: {sent} sent, {sent} answered, 0 failed, {admitted} admitted, {over} over-admitted"
    );
    assert_eq!((admitted, over), (10 * usize::from(clients), 0), "{what}");
}

/// Sends 64 requests at once, and returns how many are admitted. All others must be refused.
async fn fire(cluster: &Cluster, client: [u8; 4], forge: bool) -> usize {
    let answers = (0..AT_ONCE).map(|number| {
        let client = cluster.client_at(client);
        tokio::spawn(async move {
            let mut request = client.request(Method::GET, "/");
            if forge {
                let address = format!("203.0.113.{number}");
                request = request
                    .header("X-Forwarded-For", &address)
                    .header("X-Real-IP", &address)
                    .header("Forwarded", format!("for={address}"));
            }
            Answer::to(request)
                .await
                .expect("an answer")
                .status
                .as_u16()
        })
    });
    let mut admitted = 0;
    for status in join_all(answers).await {
        match status.expect("no panic") {
            200 => admitted += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    admitted
}

async fn is_exact_over(nodes: usize) {
    let cluster = Cluster::start(nodes, free_port(), patient).await;
    assert_exact(&format!("{nodes} nodes"), &cluster, 20, false).await;
    for (number, node) in cluster.nodes.iter().enumerate() {
        let asked = node
            .metric("shunt_limiter_decisions_total", &["source=\"redis\""])
            .await;
        assert!(asked > 100.0, "node {number} had its share: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_10_of_64_over_two_nodes() {
    needs!("redis-server", "postgres", "nginx");
    is_exact_over(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_10_of_64_over_three_nodes() {
    needs!("redis-server", "postgres", "nginx");
    is_exact_over(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_headers_gain_nothing_through_nginx() {
    needs!("redis-server", "postgres", "nginx");
    let cluster = Cluster::start(2, free_port(), patient).await;
    assert_exact("forged headers", &cluster, 5, true).await;
    // The nodes counted the client that nginx saw, and no other.
    let mut keys: Vec<String> = cluster.redis.command("KEYS rate_limit:*").await;
    let others = ["rate_limit:clock", "rate_limit:nodes"];
    keys.retain(|key| !key.starts_with("rate_limit:probe:") && !others.contains(&key.as_str()));
    assert_eq!(keys.len(), 5, "{keys:?}");
    assert!(
        keys.iter()
            .all(|key| key.starts_with("rate_limit:127.0.6.")),
        "{keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_an_hour_ahead_changes_nothing() {
    needs!("redis-server", "postgres", "nginx", "libfaketimeMT.so.1");
    let mut cluster = Cluster::start(2, free_port(), patient).await;
    let wrong = cluster.builders[1].clone().clock("+3600");
    cluster.nodes[1].kill();
    cluster.nodes[1] = wrong.start().await;
    let ahead = cluster.nodes[1]
        .metric("shunt_limiter_wall_clock_ahead_seconds", &[])
        .await;
    assert!((ahead - 3600.0).abs() < 1.0, "{ahead}");
    assert_exact("a clock an hour ahead", &cluster, 10, false).await;
}

#[tokio::test]
async fn what_nginx_knows_of_a_request_reaches_the_node_and_the_log() {
    needs!("redis-server", "postgres", "nginx");
    let cluster = Cluster::start(1, free_port(), patient).await;
    let client = cluster.client_at([127, 0, 6, 1]);
    let made = client.shorten("https://example.com/").await;
    let short_url = made.json()["short_url"]
        .as_str()
        .expect("a link")
        .to_owned();
    assert!(
        short_url.starts_with(&format!("http://{}/", cluster.nginx.address())),
        "{short_url}"
    );

    let request = client
        .request(Method::GET, "/nothing")
        .header("X-Request-Id", "from-the-caller");
    let answer = Answer::to(request).await.expect("an answer");
    assert_eq!(answer.header("x-request-id"), Some("from-the-caller"));
    let generated = client.get("/nothing").await;
    assert_eq!(generated.header("x-request-id").expect("an id").len(), 32);

    let lines = cluster.nginx.access_log();
    let line = lines
        .lines()
        .find(|line| line.contains("from-the-caller"))
        .expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["client"], "127.0.6.1");
    assert_eq!(line["status"], "404");
    assert_eq!(line["upstream"], cluster.nodes[0].address().to_string());
    assert!(
        line["upstream_seconds"]
            .as_str()
            .is_some_and(|s| s.parse::<f64>().is_ok())
    );
    assert!(
        answer
            .header("server")
            .is_none_or(|server| server == "nginx"),
        "no version"
    );
}
