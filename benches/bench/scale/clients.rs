//! Redirects, while more and more clients are active.
//!
//! Clients take turns. The window of the quota grows with their number, so that a log has about the same length for any
//! number of clients: only the number of logs differs. No client reaches the limit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shunt::limiter::{KeyPrefix, Policy, Quota};
use testkit::{Node, NodeBuilder};

use super::{
    logs,
    series::{Series, speed},
    sizes::decades,
};
use crate::{
    load::Load,
    memory,
    runner::Runner,
    servers::{self, LOCATION, Servers},
};

/// The window for each client: at 20,000 requests per second, a log has 4 entries.
const WINDOW_PER_CLIENT: Duration = Duration::from_micros(200);

const LIMIT: u32 = 100;

/// How many requests each client sends before the measurement, if the window is longer than a warm-up.
const REQUESTS_BEFORE: u32 = 4;

/// Measures from a hundred clients to `most`.
///
/// # Errors
/// If a node did anything but what is to be measured.
pub(super) async fn measure(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Vec<Series>> {
    Ok(vec![
        in_redis(runner, most).await?,
        in_process(runner, most).await?,
    ])
}

async fn in_redis(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Series> {
    let columns = [
        "clients",
        "redirects_per_s",
        "p50_ms",
        "p99_ms",
        "bytes_per_client",
        "redis_mb",
    ];
    let title = "Active clients with logs in Redis: redirects of one link";
    let mut series = Series::new("clients-redis", title, &columns);
    let servers = Servers::start().await;
    for clients in decades(100, most) {
        eprintln!("clients: {clients} in Redis");
        servers.forget_clients().await;
        let policy = Policy::default_policy(quota(clients)?);
        let node = servers.node(runner.settings.workers);
        let mut load = redirects(&node, "redis", clients, &policy).await;
        load.deciders = &["redis"];
        if is_long(&policy) {
            let window = policy.quota.window();
            logs::fill(&servers.redis, &policy, clients, REQUESTS_BEFORE, window).await?;
        }
        let measured = load.measure(runner).await?;
        let keys =
            (0..clients).map(|number| KeyPrefix::default().log(&policy, logs::client(number)));
        let bytes = memory::usage_of_some(&servers.redis, keys).await?;
        let megabytes = memory::used_memory(&servers.redis).await? / 1e6;
        let [rate, p50, p99] = speed(&measured);
        series.add(vec![f64::from(clients), rate, p50, p99, bytes, megabytes]);
    }
    Ok(series)
}

async fn in_process(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Series> {
    let columns = [
        "clients",
        "redirects_per_s",
        "p50_ms",
        "p99_ms",
        "estimated_bytes_per_client",
        "node_mb",
    ];
    let title = "Active clients with logs in process: redirects of one link";
    let mut series = Series::new("clients-in-process", title, &columns);
    for clients in decades(100, most) {
        eprintln!("clients: {clients} in process");
        let policy = Policy::default_policy(quota(clients)?);
        // Enough memory to remember every client.
        let node =
            servers::embedded(runner.settings.workers).set("limiter.local_memory_mib", "1024");
        let mut load = redirects(&node, "in-process", clients, &policy).await;
        if is_long(&policy) {
            fill(runner, &load, &policy).await?;
        }
        let measured = load.measure(runner).await?;
        let node = &load.nodes[0];
        let logs = node.metric("shunt_limiter_local_bytes", &[]).await;
        let bytes = logs / node.metric("shunt_limiter_local_clients", &[]).await;
        let megabytes = memory::resident_megabytes(node)?;
        let [rate, p50, p99] = speed(&measured);
        series.add(vec![f64::from(clients), rate, p50, p99, bytes, megabytes]);
    }
    Ok(series)
}

/// Lets every client send a few requests, for one window at most: after that, logs grow no longer.
async fn fill(runner: &mut Runner<'_>, load: &Load, policy: &Policy) -> anyhow::Result<()> {
    let wanted = load.target.clients * u64::from(REQUESTS_BEFORE);
    let started = Instant::now();
    let mut asked = 0;
    while asked < wanted && started.elapsed() < policy.quota.window() {
        asked += runner.warm_up(&load.target).await?.requests;
    }
    Ok(())
}

/// Redirects of one link for this many clients.
async fn redirects(node: &NodeBuilder, store: &str, clients: u32, policy: &Policy) -> Load {
    let node = node.clone().set("limiter.quota", &policy.quota.to_string());
    let node: Arc<Node> = Arc::new(node.start().await);
    let code = node.client().shorten(LOCATION).await.code();
    let name = format!("clients-{store}-{clients}");
    let mut load = Load::new(&name, &node, "distinct-clients.lua", &format!("/{code}"));
    load.target.clients = u64::from(clients);
    load
}

fn quota(clients: u32) -> anyhow::Result<Quota> {
    Ok(Quota::new(LIMIT, WINDOW_PER_CLIENT * clients)?)
}

/// Whether a warm-up is too short for logs to reach their full length.
fn is_long(policy: &Policy) -> bool {
    policy.quota.window() > Duration::from_secs(1)
}
