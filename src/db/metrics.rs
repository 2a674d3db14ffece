//! The metrics that are read from the state of a database when they are asked for: its failures and its connections.

use std::sync::Arc;

use prometheus::IntGaugeVec;

use super::{Health, Troubles};
use crate::telemetry::{Metrics, Readings};

/// Registers what `health` knows of its database when the metrics are asked for.
///
/// # Errors
/// If it is registered already.
pub fn register_database_metrics(
    metrics: &Metrics,
    health: Arc<Health>,
) -> Result<(), prometheus::Error> {
    let mut readings = Readings::default();
    let failing = readings.gauges(
        "shunt_store_failing",
        "1 while the database fails at reads or at writes, at some or at all of them",
        &["store", "what"],
    )?;
    let connections = readings.gauges(
        "shunt_pool_connections",
        "Connections of a pool",
        &["store", "state"],
    )?;
    let max_connections = readings.gauges(
        "shunt_pool_max_connections",
        "The most connections of a pool",
        &["store"],
    )?;
    metrics.read_on_request(readings, move || {
        let (store, usage) = (health.database().name(), health.database().usage());
        let set = |gauge: &IntGaugeVec, labels: &[&str], count: usize| {
            gauge.with_label_values(labels).set(count as i64);
        };
        set(&connections, &[store, "in_use"], usage.in_use);
        set(&connections, &[store, "idle"], usage.idle);
        set(&max_connections, &[store], usage.max);

        let Troubles { reads, writes, .. } = health.known_troubles();
        for (what, troubles) in [("reads", reads), ("writes", writes)] {
            let fails = usize::from(!troubles.is_empty());
            set(&failing, &[store, what], fails);
        }
    })
}
