//! Memory of nodes, and of Redis per client.

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::{Context, ensure};
use deadpool_redis::redis::{Client, Pipeline};
use futures_util::{StreamExt, TryStreamExt, stream};
use shunt::limiter::{ClientId, KeyPrefix, Policy, RedisOptions, RedisStore, WindowStore};
use testkit::{Node, NodeBuilder, Redis};

use crate::{
    row::{self, Better, Row, Wanted},
    runner::Runner,
    scenario::Scenario,
    servers,
    settings::Settings,
    stage::Stage,
};

/// How many clients in Redis are measured, and how many requests of each: one more than the quota, so that its log is
/// full.
const CLIENTS: u32 = 100_000;
const REQUESTS: u64 = 11;
/// The default limit, with a window so long that no entry leaves a log meanwhile.
const QUOTA: &str = "10/hour";

/// Requests under way at once while logs are filled.
const AT_ONCE: usize = 512;

/// How many clients Redis is asked about one by one, at most.
const SAMPLE: usize = 1_000;

/// Resident memory of nodes that have just started, and of those that were measured.
///
/// # Errors
/// If a node is gone.
pub(crate) async fn of_nodes(settings: &Settings, stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let embedded = servers::embedded(settings.workers);
    let title = "resident memory of an idle embedded node";
    rows.push(idle("rss-embedded", title, settings, &embedded).await?);
    if let Some(servers) = &stage.servers {
        let node = servers.node(settings.workers);
        let title = "resident memory of an idle node with Redis and Postgres";
        rows.push(idle("rss-distributed", title, settings, &node).await?);
    }
    for (scenario, name, title) in [
        (
            Scenario::Embedded,
            "rss-embedded-after",
            "the same of the embedded node that was measured",
        ),
        (
            Scenario::Redis,
            "rss-distributed-after",
            "the same of the node of `redis` and `post-same`",
        ),
    ] {
        if let Some(load) = stage.loads.get(&scenario) {
            let mut row = Row::new(name, title, "MB", Better::Lower);
            row.add(resident_megabytes(&load.nodes[0])?, None);
            rows.push(row);
        }
    }
    Ok(rows)
}

async fn idle(
    name: &str,
    title: &str,
    settings: &Settings,
    node: &NodeBuilder,
) -> anyhow::Result<Row> {
    let mut row = Row::new(name, title, "MB", Better::Lower);
    row.wanted = Some(Wanted::AtMost(20.0));
    for _ in 0..settings.rounds {
        let node = node.start().await;
        // One request that needs the database, so that all connections exist.
        let status = node.client().get("/nobody").await.status;
        ensure!(status == 404, "an unknown code is answered with {status}");
        row.add(resident_megabytes(&node)?, None);
    }
    Ok(row)
}

/// `VmRSS`, in 10^6 bytes.
///
/// # Errors
/// If the node is gone.
pub(crate) fn resident_megabytes(node: &Node) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: f64 = kibibytes.context("no VmRSS")?.parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// The memory of a client with a full log, by what Redis says about single clients and by how much Redis grew for all.
///
/// # Errors
/// If Redis cannot be asked.
pub(crate) async fn of_redis(runner: &mut Runner<'_>) -> anyhow::Result<Vec<Row>> {
    eprintln!("redis-memory: {CLIENTS} clients");
    let redis = Redis::start().await;
    let store = RedisStore::new(&RedisOptions {
        endpoint: redis.url().parse()?,
        prefix: KeyPrefix::default(),
        timeout: Duration::from_secs(10),
    })?;
    store.reconnect().await?;
    let policy = Policy::default_policy(QUOTA.parse()?);
    let before = used_memory(&redis).await?;
    fill_logs(&store, &policy).await?;
    let grown = used_memory(&redis).await? - before;
    let info: String = redis.command("INFO memory").await;
    runner.keep("redis-info", &info);

    let mut single = Row::new(
        "redis-bytes",
        "Redis per client with a full log: MEMORY USAGE, median",
        "bytes",
        Better::Lower,
    );
    single.wanted = Some(Wanted::AtMost(300.0));
    let keys = (0..CLIENTS).map(|number| KeyPrefix::default().log(&policy, client(number)));
    single.add(usage_of_some(&redis, keys).await?, None);
    for number in [0, CLIENTS / 2, CLIENTS - 1] {
        let key = KeyPrefix::default().log(&policy, client(number));
        let logged: u64 = redis.command(&format!("ZCARD {key}")).await;
        ensure!(logged == REQUESTS, "the log of {key} has {logged} entries");
    }

    let title = format!("Redis per client with a full log: growth of used_memory for {CLIENTS}");
    let mut all = Row::new("redis-bytes-of-all", &title, "bytes", Better::Lower);
    all.add(grown / f64::from(CLIENTS), None);
    all.notes.push(
        "with what MEMORY USAGE leaves out: the clients' places in the tables of keys and of expiries".to_owned(),
    );
    Ok(vec![single, all])
}

/// Fills logs with the commands of a node.
async fn fill_logs(store: &RedisStore, policy: &Policy) -> anyhow::Result<()> {
    let requests = (0..REQUESTS).flat_map(|_| 0..CLIENTS);
    stream::iter(requests)
        .map(|number| store.record(policy, client(number)))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// Clients from all over the Internet: the length of an address is part of the memory.
fn client(number: u32) -> ClientId {
    // The factor is odd, so no two numbers have the same address.
    let bits = number.wrapping_mul(2_654_435_761);
    ClientId::new(Ipv4Addr::from_bits(bits).into(), 64)
}

/// The median of `MEMORY USAGE`, in bytes, of at most a thousand of these keys.
///
/// # Errors
/// If Redis cannot be asked, or has none of them.
pub(crate) async fn usage_of_some(
    redis: &Redis,
    keys: impl ExactSizeIterator<Item = String>,
) -> anyhow::Result<f64> {
    let step = keys.len().div_ceil(SAMPLE);
    let mut pipeline = Pipeline::new();
    for key in keys.step_by(step) {
        pipeline
            .cmd("MEMORY")
            .arg("USAGE")
            .arg(key)
            .arg("SAMPLES")
            .arg(0);
    }
    let client = Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    // A key that has expired meanwhile has no usage.
    let usages: Vec<Option<f64>> = pipeline.query_async(&mut connection).await?;
    let usages: Vec<f64> = usages.into_iter().flatten().collect();
    ensure!(!usages.is_empty(), "Redis knows none of the clients");
    Ok(row::median(&usages))
}

/// `used_memory` of Redis, in bytes.
///
/// # Errors
/// If Redis does not say.
pub(crate) async fn used_memory(redis: &Redis) -> anyhow::Result<f64> {
    let info: String = redis.command("INFO memory").await;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.context("no used_memory")?.trim().parse()?)
}
