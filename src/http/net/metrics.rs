//! What is measured of connections.

use prometheus::{IntCounter, IntGauge};

use crate::telemetry::Metrics;

/// Counts open connections, and those that the node ended.
#[derive(Clone)]
pub(in crate::http) struct ConnectionMetrics {
    /// Open connections.
    pub(super) open: IntGauge,
    /// Ended because a request took too long to arrive.
    pub(super) ended_slow: IntCounter,
    /// Ended because the client did not take its answers in time.
    pub(super) ended_unread: IntCounter,
    /// Ended because there was no room for what the client made the node keep.
    pub(super) ended_for_memory: IntCounter,
}

impl ConnectionMetrics {
    /// The metrics of one listener.
    ///
    /// # Errors
    /// If they are registered already.
    pub(in crate::http) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let ended = metrics.counters(
            "shunt_http_connections_ended_total",
            "Connections that were ended because their clients were too slow or wanted too much",
            &["reason"],
        )?;
        Ok(Self {
            open: metrics.gauge("shunt_http_connections", "Open connections")?,
            ended_slow: ended.with_label_values(&["slow_request"]),
            ended_unread: ended.with_label_values(&["unread_answers"]),
            ended_for_memory: ended.with_label_values(&["memory"]),
        })
    }

    /// A connection ends because its client did not take an answer in time.
    pub(in crate::http) fn has_ended_unread(&self) {
        self.ended_unread.inc();
    }
}
