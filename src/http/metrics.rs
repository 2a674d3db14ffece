//! What is measured of the public listener: connections, requests, and what the limiter has decided of them.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::edge::ONLOOKERS;
use crate::{public::Route, telemetry::Metrics};

/// What is counted of connections.
#[derive(Clone)]
pub(super) struct ConnectionMetrics {
    /// Those that are open.
    pub(super) open: IntGauge,
    /// Ended: a request took too long to arrive.
    pub(super) ended_slow: IntCounter,
    /// Ended: answers were not taken in time.
    pub(super) ended_unread: IntCounter,
    /// Ended: all connections together had too much waiting.
    pub(super) ended_for_memory: IntCounter,
}

/// What the public listener counts.
pub struct HttpMetrics {
    /// Connections.
    pub(super) connections: ConnectionMetrics,
    /// By route, method and status.
    pub(super) requests: IntCounterVec,
    /// Per route, in the order of [`Route::ALL`].
    pub(super) seconds: Vec<Histogram>,
    /// By kind: machines that only looked at a link whose visits are limited.
    pub(super) onlookers: IntCounterVec,
    /// By policy, outcome and source.
    pub(super) decisions: IntCounterVec,
}

impl HttpMetrics {
    /// Those of one listener.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let seconds = metrics.latencies(
            "shunt_http_request_duration_seconds",
            "From the end of a request's head to the start of its answer",
            &["route"],
        )?;
        let onlookers = metrics.counters(
            "shunt_onlookers_total",
            "Requests of machines that only looked at a link whose visits are limited",
            &["kind"],
        )?;
        for kind in ONLOOKERS {
            // There from the start, so that expressions can subtract it.
            onlookers.with_label_values(&[kind]);
        }
        let ended = metrics.counters(
            "shunt_http_connections_ended_total",
            "Connections that were ended because their clients were too slow or wanted too much",
            &["reason"],
        )?;
        Ok(Self {
            connections: ConnectionMetrics {
                open: metrics.gauge("shunt_http_connections", "Open connections")?,
                ended_slow: ended.with_label_values(&["slow_request"]),
                ended_unread: ended.with_label_values(&["unread_answers"]),
                ended_for_memory: ended.with_label_values(&["memory"]),
            },
            requests: metrics.counters(
                "shunt_http_requests_total",
                "Requests answered",
                &["route", "method", "status"],
            )?,
            seconds: Route::ALL
                .iter()
                .map(|route| seconds.with_label_values(&[route.name()]))
                .collect(),
            onlookers,
            decisions: metrics.counters(
                "shunt_limiter_decisions_total",
                "Decisions of the limiter: who decided what",
                &["policy", "outcome", "source"],
            )?,
        })
    }
}
