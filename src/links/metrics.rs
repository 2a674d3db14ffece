//! What is measured of links: the store's operations and connections, and the redirect cache.

use std::sync::Arc;

use prometheus::{Gauge, IntCounter, IntGaugeVec, Opts};

use super::{Links, StoreTroubles};
use crate::telemetry::{Metrics, Operation, set_flag};

/// What a link store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOperation {
    /// To look up a code that no link has: whether it answers at all.
    Ping,
    /// To look up where codes lead.
    LookUp,
    /// To store a link.
    Insert,
    /// To count a visit.
    Visit,
    /// To do again, without an effect, what has failed.
    Trial,
}

impl Operation for LinkOperation {
    const ALL: &'static [Self] = &[
        Self::Ping,
        Self::LookUp,
        Self::Insert,
        Self::Visit,
        Self::Trial,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::LookUp => "resolve",
            Self::Insert => "insert",
            Self::Visit => "visit",
            Self::Trial => "trial",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// What the redirect cache counts.
#[derive(Clone)]
pub struct CacheMetrics {
    /// A link was remembered.
    pub(super) hits: IntCounter,
    /// It was remembered that the code leads nowhere.
    pub(super) negative_hits: IntCounter,
    /// The store was asked.
    pub(super) misses: IntCounter,
    /// The store could not answer, and what was remembered had to do.
    pub(super) stale: IntCounter,
}

impl CacheMetrics {
    /// Those of one cache.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let lookups = metrics.counters(
            "shunt_cache_lookups_total",
            "Look-ups of codes, by what the cache knew",
            &["result"],
        )?;
        Ok(Self {
            hits: lookups.with_label_values(&["hit"]),
            negative_hits: lookups.with_label_values(&["negative_hit"]),
            misses: lookups.with_label_values(&["miss"]),
            stale: lookups.with_label_values(&["stale"]),
        })
    }
}

/// Registers what `links` knows of itself when the metrics are asked for.
///
/// # Errors
/// If it is registered already.
pub fn register_link_metrics(
    metrics: &Metrics,
    links: Arc<Links>,
) -> Result<(), prometheus::Error> {
    let failing = IntGaugeVec::new(
        Opts::new(
            "shunt_store_failing",
            "1 while links cannot be looked up (reads), or not be made or counted (writes)",
        ),
        &["store", "what"],
    )?;
    let connections = IntGaugeVec::new(
        Opts::new("shunt_pool_connections", "Connections of a pool"),
        &["store", "state"],
    )?;
    let max_connections = IntGaugeVec::new(
        Opts::new(
            "shunt_pool_max_connections",
            "The most connections of a pool",
        ),
        &["store"],
    )?;
    let entries = IntGaugeVec::new(
        Opts::new("shunt_cache_entries", "What the redirect cache remembers"),
        &["kind"],
    )?;
    let watching = Gauge::new(
        "shunt_cache_watching",
        "1 while changes that others make to links are heard",
    )?;
    metrics.read_on_request(
        vec![
            Box::new(failing.clone()),
            Box::new(connections.clone()),
            Box::new(max_connections.clone()),
            Box::new(entries.clone()),
            Box::new(watching.clone()),
        ],
        move || {
            let (store, usage) = links.store_usage();
            let set = |gauge: &IntGaugeVec, labels: &[&str], count: usize| {
                gauge.with_label_values(labels).set(count as i64);
            };
            set(&connections, &[store, "in_use"], usage.in_use);
            set(&connections, &[store, "idle"], usage.idle);
            set(&max_connections, &[store], usage.max);

            let StoreTroubles { reads, writes, .. } = links.known_troubles();
            for (what, troubles) in [("reads", reads), ("writes", writes)] {
                let fails = usize::from(!troubles.is_empty());
                set(&failing, &[store, what], fails);
            }

            if let Some(cache) = links.cache_usage() {
                set(&entries, &["link"], cache.links);
                set(&entries, &["miss"], cache.misses);
                set_flag(&watching, cache.watching);
            }
        },
    )
}
