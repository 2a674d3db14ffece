//! A Redis that Sentinels watch, and a replica that takes over.

use deadpool_redis::redis::Value;
use testkit::{Redis, eventually};

use super::{row::row, setup::Setup};
use crate::stores::redis_kinds::{self, SentinelGroup};

/// A failover takes longer than the windows of other rows.
const STRETCHED: u32 = 3;

/// A master, a replica that is in step, and a Sentinel that knows both.
async fn group() -> (SentinelGroup, Redis) {
    let group = redis_kinds::sentinel().await;
    let master = group.master();
    // By default a master waits five seconds for more replicas.
    master
        .command::<String>("CONFIG SET repl-diskless-sync-delay 0")
        .await;
    let port = master.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica is in step", async || {
        let replication: String = replica.command("INFO replication").await;
        replication.contains("master_link_status:up").then_some(())
    })
    .await;
    // When a Sentinel begins to watch a master, it asks at once for the replicas; later only every ten seconds.
    group.names(master).await;
    group
        .sentinel()
        .command::<Value>("SENTINEL SET mymaster down-after-milliseconds 1000")
        .await;
    eventually("the sentinel knows the replica", async || {
        let replicas: Vec<Value> = group.sentinel().command("SENTINEL REPLICAS mymaster").await;
        (replicas.len() == 1).then_some(())
    })
    .await;
    (group, replica)
}

pub async fn the_master_is_killed(setup: &Setup) {
    let (mut group, replica) = group().await;
    let fleet = setup.clone().stretched(STRETCHED).start(&group.url()).await;
    let findings = row("Sentinel: the master is killed", &fleet, async |_| {
        group.master_mut().kill();
        group.name_becomes(&replica).await;
    })
    .await;
    findings.assert_exact();
}

/// The master goes on, and learns only later that it is none any more.
pub async fn a_failover_is_planned(setup: &Setup) {
    let (group, replica) = group().await;
    let fleet = setup.clone().stretched(STRETCHED).start(&group.url()).await;
    let findings = row("Sentinel: a planned failover", &fleet, async |_| {
        // The Sentinel may not know yet how far the replica is.
        eventually("the sentinel begins", async || {
            let sentinel = group.sentinel();
            let begun: Value = sentinel
                .try_command("SENTINEL FAILOVER mymaster")
                .await
                .ok()?;
            Some(begun)
        })
        .await;
        group.name_becomes(&replica).await;
        eventually("the old master is a replica", async || {
            // The Sentinel also ends the connections to it.
            let replication = group.master().try_command("INFO replication").await;
            let replication: String = replication.ok()?;
            replication.contains("role:slave").then_some(())
        })
        .await;
    })
    .await;
    findings.assert_exact();
}
