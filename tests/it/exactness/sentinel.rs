//! A Redis that Sentinels watch, and a replica that takes over.

use deadpool_redis::redis::Value;
use testkit::eventually;

use super::{row::row, setup::Setup};
use crate::stores::redis_kinds;

/// A failover takes longer than the windows of other rows.
const STRETCHED: u32 = 3;

/// How long the master is away until the Sentinel promotes the replica, ms.
const DOWN_AFTER: u32 = 1_000;

pub async fn the_master_is_killed(setup: &Setup) {
    let mut group = redis_kinds::sentinel().await;
    let replica = group.replica(DOWN_AFTER).await;
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
    let group = redis_kinds::sentinel().await;
    let replica = group.replica(DOWN_AFTER).await;
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
