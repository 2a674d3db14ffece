//! Puts load on a cluster while a test does something to it, and counts what clients saw.

use std::time::{Duration, Instant};

use reqwest::Method;
use testkit::{Client, Cluster, NodeBuilder, Seen, Traffic, eventually, free_port};

/// `limiter.quota` of these clusters: the default.
pub const QUOTA: usize = 10;

/// How many clients follow a link, how many make links, and how many ask for more than their quota.
pub const READERS: u8 = 8;
pub const WRITERS: u8 = 4;
pub const HAMMERS: u8 = 4;

/// What clients saw.
pub struct Figures {
    pub reads: Seen,
    pub writes: Seen,
    /// Requests that were admitted although their client was over its quota.
    pub over_admitted: usize,
    pub hammers: Seen,
    /// How long it took from the harm until all was well again, as the scenario defines it, and until the last request
    /// failed.
    pub recovery: Duration,
}

/// `limiter.redis.timeout` where Redis stays. A busy machine may not run a node for hundreds of milliseconds, and a
/// node must not take that for a Redis that is away.
const PATIENCE: &str = "2s";

/// Starts a cluster. Readers and writers are exempt from the limit, and hammers are not.
pub async fn cluster(nodes: usize) -> Cluster {
    Cluster::start(nodes, free_port(), |node| configure(node, PATIENCE)).await
}

/// How long nodes wait for Redis in `make faults`, which has the machine to itself and measures the default. `None` in
/// other tests.
pub fn undisturbed_timeout() -> Option<String> {
    std::env::var("FAULTS_REDIS_TIMEOUT").ok()
}

/// The same as [`cluster`] for tests in which Redis goes away.
pub async fn cluster_that_loses_redis(nodes: usize) -> Cluster {
    let timeout = undisturbed_timeout();
    let timeout = timeout.as_deref().unwrap_or(PATIENCE);
    Cluster::start(nodes, free_port(), |node| configure(node, timeout)).await
}

/// The same for tests in which Postgres goes away.
pub async fn cluster_that_loses_postgres(nodes: usize) -> Cluster {
    Cluster::start(nodes, free_port(), |node| {
        configure(node, PATIENCE).set("database.timeout", "1s")
    })
    .await
}

fn configure(node: NodeBuilder, redis_timeout: &str) -> NodeBuilder {
    node.set("limiter.exempt", "127.0.9.0/24")
        .set("limiter.redis.timeout", redis_timeout)
        .set("http.drain", "1s")
        // Less than nginx waits for a node (5 s).
        .set("database.timeout", "4s")
}

/// Does `harm` to a cluster under load, waits until `well` is true, and prints a row of the table of faults.
pub async fn under_load(
    fault: &str,
    cluster: &mut Cluster,
    harm: impl AsyncFnOnce(&mut Cluster),
    well: impl AsyncFn(&Cluster) -> bool,
) -> Figures {
    under_load_of(fault, cluster, Cluster::client_at, harm, well).await
}

/// The same with clients of another kind.
pub async fn under_load_of(
    fault: &str,
    cluster: &mut Cluster,
    client: fn(&Cluster, [u8; 4]) -> Client,
    harm: impl AsyncFnOnce(&mut Cluster),
    well: impl AsyncFn(&Cluster) -> bool,
) -> Figures {
    let clients = |network: u8, count: u8| -> Vec<Client> {
        (1..=count)
            .map(|number| client(cluster, [127, 0, network, number]))
            .collect()
    };
    let code = cluster
        .client_at([127, 0, 9, 200])
        .shorten("https://example.com/followed")
        .await
        .code();
    let reads = Traffic::start(&clients(9, READERS), move |client, _| {
        client.request(Method::GET, &format!("/{code}"))
    });
    let writes = Traffic::start(&clients(9, WRITERS), |client, number| {
        let url = format!("https://example.com/{number}");
        client
            .request(Method::POST, "/shorten")
            .form(&[("url", url)])
    });
    let hammers = Traffic::start(&clients(10, HAMMERS), |client, _| {
        client.request(Method::GET, "/")
    });
    reads.answers(200).await;
    writes.answers(50).await;
    hammers.answers(100).await;

    let harmed = Instant::now();
    harm(cluster).await;
    eventually("all is well again", async || {
        well(cluster).await.then_some(())
    })
    .await;
    let well_after = harmed.elapsed();
    reads.answers(200).await;
    writes.answers(50).await;

    let (reads, writes) = (reads.stop().await, writes.stop().await);
    let hammers = hammers.stop().await;
    let last_failure = [&reads, &writes, &hammers]
        .into_iter()
        .filter_map(|seen| seen.last_failure)
        .max();
    let failing_for =
        last_failure.map_or(Duration::ZERO, |at| at.saturating_duration_since(harmed));
    let figures = Figures {
        // No hammer pauses for a window, so each may use its quota once.
        over_admitted: hammers
            .count(200)
            .saturating_sub(QUOTA * usize::from(HAMMERS)),
        recovery: well_after.max(failing_for),
        reads,
        writes,
        hammers,
    };
    figures.print(fault);
    figures
}

/// A row of the table of faults.
pub struct Row<'a> {
    pub fault: &'a str,
    pub sent: usize,
    pub failed_reads: usize,
    pub failed_writes: usize,
    pub over_admitted: usize,
    pub recovery: Duration,
    pub slowest: Duration,
}

impl Row<'_> {
    /// Prints it as `scripts/faults` expects it.
    pub fn print(&self) {
        println!(
            "| {} | {} | {} | {} | {} | {:.1} s | {} ms |",
            self.fault,
            self.sent,
            self.failed_reads,
            self.failed_writes,
            self.over_admitted,
            self.recovery.as_secs_f64(),
            self.slowest.as_millis()
        );
    }
}

impl Figures {
    fn print(&self, fault: &str) {
        let all = [&self.reads, &self.writes, &self.hammers];
        let sent = all.iter().map(|seen| seen.total() + seen.broken.len());
        let slowest = all.iter().map(|seen| seen.slowest).max();
        let row = Row {
            fault,
            sent: sent.sum(),
            failed_reads: self.reads.failed(),
            failed_writes: self.writes.failed(),
            over_admitted: self.over_admitted,
            recovery: self.recovery,
            slowest: slowest.unwrap_or_default(),
        };
        row.print();
    }
}
