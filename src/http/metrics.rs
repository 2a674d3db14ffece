//! What is measured of the public listener: connections, requests, and the limiter's decisions.

use prometheus::{Histogram, IntCounterVec};

use super::{edge::Onlooker, net::ConnectionMetrics};
use crate::{public::Route, telemetry::Metrics};

/// What the public listener counts.
pub struct HttpMetrics {
    /// Connections.
    pub(super) connections: ConnectionMetrics,
    /// Answered requests, by route, method and status.
    pub(super) requests: IntCounterVec,
    /// How long answers took, for each route in the order of [`Route::ALL`].
    pub(super) seconds: Vec<Histogram>,
    /// Onlookers at links whose visits are limited, by kind.
    pub(super) onlookers: IntCounterVec,
    /// The limiter's outcomes, by policy, outcome and source.
    pub(super) decisions: IntCounterVec,
}

impl HttpMetrics {
    /// The metrics of one listener.
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
        for onlooker in Onlooker::ALL {
            // Zero from the start, so that expressions can subtract it.
            onlookers.with_label_values(&[onlooker.name()]);
        }
        Ok(Self {
            connections: ConnectionMetrics::new(metrics)?,
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
