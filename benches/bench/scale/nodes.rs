//! Redirects by one node and by several with the same Redis and Postgres, and here also with the same processors.

use std::sync::Arc;

use anyhow::Context;

use super::series::{Series, speed};
use crate::{
    counters::Counters,
    load::Load,
    runner::Runner,
    servers::{LOCATION, Servers},
};

/// Measures from one node to `most`.
///
/// # Errors
/// If a node did anything but what is to be measured.
pub(super) async fn measure(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Vec<Series>> {
    let columns = ["nodes", "redirects_per_s", "worst_p50_ms", "worst_p99_ms"];
    let title = "Nodes with the same Redis and Postgres: redirects of one link by all of them";
    let mut series = Series::new("nodes", title, &columns);
    let servers = Servers::start().await;
    let mut loads: Vec<Load> = Vec::new();
    for nodes in 1..=most {
        eprintln!("nodes: {nodes}");
        let node = Arc::new(servers.node(runner.settings.workers).start().await);
        let code = node.client().shorten(LOCATION).await.code();
        let name = format!("nodes-{nodes}");
        let path = format!("/{code}");
        loads.push(Load::new(&name, &node, "distinct-clients.lua", &path).with_redis());

        let targets: Vec<_> = loads.iter().map(|load| load.target.clone()).collect();
        runner.warm_up_all(&targets).await?;
        let mut before = Vec::new();
        for load in &loads {
            before.push(Counters::settled([&*load.nodes[0]]).await);
        }
        let measured = runner.measure_all(&name, &targets).await?;
        let mut sum = [0.0_f64; 3];
        for ((load, before), measured) in loads.iter().zip(&before).zip(&measured) {
            let done = Counters::settled([&*load.nodes[0]]).await.since(before);
            load.check(measured, &done)
                .with_context(|| load.name.clone())?;
            let [rate, p50, p99] = speed(measured);
            sum = [sum[0] + rate, sum[1].max(p50), sum[2].max(p99)];
        }
        let [rate, p50, p99] = sum;
        series.add(vec![f64::from(nodes), rate, p50, p99]);
    }
    Ok(vec![series])
}
