//! Refusals, while the limit and with it every log grows: shows where a log stops being the right structure.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use shunt::limiter::{KeyPrefix, Policy, Quota};
use testkit::Redis;

use super::{
    logs,
    series::{Series, speed},
    sizes::decades,
};
use crate::{
    load::Load,
    memory,
    runner::Runner,
    servers::{LOCATION, Servers},
};

/// Few, because a log of ten thousand entries takes a megabyte. Enough that two requests under way are never of the
/// same client.
const CLIENTS: u32 = 100;

/// So long that no entry grows too old.
const WINDOW: Duration = Duration::from_secs(86_400);

/// Measures from a limit of 10 to `most`. Every log is full, so every request adds an entry and removes the oldest.
///
/// # Errors
/// If a node did anything but what is to be measured.
pub(super) async fn measure(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Vec<Series>> {
    let columns = [
        "limit",
        "requests_per_s",
        "p50_ms",
        "p99_ms",
        "bytes_per_client",
        "redis_us_per_request",
    ];
    let title = "Limits: requests of clients whose logs in Redis are full";
    let mut series = Series::new("limits", title, &columns);
    let servers = Servers::start().await;
    for limit in decades(10, most) {
        eprintln!("limits: {limit}");
        servers.forget_clients().await;
        let policy = Policy::default_policy(Quota::new(limit, WINDOW)?);
        let node = servers
            .node(runner.settings.workers)
            .set("limiter.quota", &policy.quota.to_string())
            // The shield would keep most of these requests from Redis.
            .set("limiter.shield", "false");
        let node = Arc::new(node.start().await);
        let code = node.client().shorten(LOCATION).await.code();
        let name = format!("limits-{limit}");
        let path = format!("/{code}");
        let mut load = Load::new(&name, &node, "distinct-clients.lua", &path).with_redis();
        load.target.clients = u64::from(CLIENTS);
        load.status = 429;
        load.outcome = "refused";

        logs::fill(&servers.redis, &policy, CLIENTS, limit + 1, WINDOW).await?;
        servers.redis.command::<String>("CONFIG RESETSTAT").await;
        let measured = load.measure(runner).await?;
        let micros = micros_per_transaction(&servers.redis).await?;
        let keys =
            (0..CLIENTS).map(|number| KeyPrefix::default().log(&policy, logs::client(number)));
        let bytes = memory::usage_of_some(&servers.redis, keys).await?;
        let [rate, p50, p99] = speed(&measured);
        series.add(vec![f64::from(limit), rate, p50, p99, bytes, micros]);
    }
    Ok(vec![series])
}

/// The time that Redis works on one request, without reading it and without writing the answer.
async fn micros_per_transaction(redis: &Redis) -> anyhow::Result<f64> {
    let statistics: String = redis.command("INFO commandstats").await;
    // EXEC includes the commands of its transaction.
    let exec = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_exec:"))
        .context("no transactions")?;
    let per_call = exec
        .split(',')
        .find_map(|field| field.strip_prefix("usec_per_call="))
        .context("no usec_per_call")?;
    Ok(per_call.parse()?)
}
