//! What is measured of links: the store's operations, and the redirect cache.

use std::sync::Arc;

use prometheus::IntCounter;

use super::Links;
use crate::{
    db::{Access, Operation},
    telemetry::{self, Metrics, Readings, set_flag},
};

/// What a store of links is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOperation {
    /// To look up where codes lead.
    LookUp,
    /// To store a link.
    Insert,
    /// To store several links in one transaction.
    InsertMany,
    /// To count a visit.
    Visit,
    /// To read a link for somebody who manages it, or who asks what it is.
    Record,
    /// To edit a link.
    Edit,
    /// To remove links that were deleted long ago.
    Purge,
    /// To find a page of links.
    Find,
    /// To put links into the index of what they contain.
    Index,
    /// To count links by tag or owner.
    Count,
    /// To give links another tag.
    Retag,
}

impl telemetry::Operation for LinkOperation {
    const ALL: &'static [Self] = &[
        Self::LookUp,
        Self::Insert,
        Self::InsertMany,
        Self::Visit,
        Self::Record,
        Self::Edit,
        Self::Purge,
        Self::Find,
        Self::Index,
        Self::Count,
        Self::Retag,
    ];

    fn name(self) -> &'static str {
        Operation::from(self).name
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl From<LinkOperation> for Operation {
    fn from(operation: LinkOperation) -> Self {
        match operation {
            LinkOperation::LookUp => Self {
                access: Access::Read,
                name: "resolve",
                impossible: "links cannot be looked up",
            },
            LinkOperation::Insert => Self {
                access: Access::Write,
                name: "insert",
                impossible: "links cannot be made",
            },
            LinkOperation::InsertMany => Self {
                access: Access::Write,
                name: "insert_many",
                impossible: "links cannot be made in bulk",
            },
            LinkOperation::Visit => Self {
                access: Access::Write,
                name: "visit",
                impossible: "visits cannot be counted",
            },
            LinkOperation::Record => Self {
                access: Access::Read,
                name: "show",
                impossible: "links cannot be shown",
            },
            LinkOperation::Edit => Self {
                access: Access::Write,
                name: "edit",
                impossible: "links cannot be changed",
            },
            LinkOperation::Purge => Self {
                access: Access::Write,
                name: "purge",
                impossible: "deleted links cannot be removed for good",
            },
            LinkOperation::Find => Self {
                access: Access::Read,
                name: "find",
                impossible: "links cannot be listed and searched",
            },
            LinkOperation::Index => Self {
                access: Access::Write,
                name: "index",
                impossible: "links cannot be put into the index, so searches take longer",
            },
            LinkOperation::Count => Self {
                access: Access::Read,
                name: "count",
                impossible: "links cannot be counted by tag and owner",
            },
            LinkOperation::Retag => Self {
                access: Access::Write,
                name: "retag",
                impossible: "tags cannot be changed",
            },
        }
    }
}

/// What the redirect cache counts.
#[derive(Clone)]
pub struct CacheMetrics {
    /// A link was remembered.
    pub(super) hits: IntCounter,
    /// The cache remembered that the code leads nowhere.
    pub(super) negative_hits: IntCounter,
    /// The store was asked.
    pub(super) misses: IntCounter,
    /// The store did not answer, or not in time, and a stale link was the answer.
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

/// What is counted of the work with passwords of links.
pub struct PasswordMetrics {
    /// A password was hashed.
    pub(super) done: IntCounter,
    /// There was no place to wait.
    pub(super) no_place: IntCounter,
    /// It was not the turn of the request in time.
    pub(super) too_late: IntCounter,
    /// It failed.
    pub(super) failed: IntCounter,
}

impl PasswordMetrics {
    /// Those of one node.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let hashes = metrics.counters(
            "shunt_password_hashes_total",
            "Passwords of links that were to be hashed, to check or to set them",
            &["outcome"],
        )?;
        Ok(Self {
            done: hashes.with_label_values(&["done"]),
            no_place: hashes.with_label_values(&["no_place"]),
            too_late: hashes.with_label_values(&["too_late"]),
            failed: hashes.with_label_values(&["failed"]),
        })
    }
}

/// Registers what the cache of `links` knows of itself when the metrics are asked for.
///
/// # Errors
/// If it is registered already.
pub fn register_cache_metrics(
    metrics: &Metrics,
    links: Arc<Links>,
) -> Result<(), prometheus::Error> {
    let mut readings = Readings::default();
    let entries = readings.gauges(
        "shunt_cache_entries",
        "What the redirect cache remembers",
        &["kind"],
    )?;
    let watching = readings.gauge(
        "shunt_cache_watching",
        "1 while changes that others make to links are heard",
    )?;
    metrics.read_on_request(readings, move || {
        if let Some(cache) = links.cache_usage() {
            let set = |kind: &str, count: usize| {
                entries.with_label_values(&[kind]).set(count as i64);
            };
            set("link", cache.links);
            set("miss", cache.misses);
            set_flag(&watching, cache.watching);
        }
    })
}
