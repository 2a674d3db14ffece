//! What is measured of the limiter: Redis's operations, the breaker, the shield, and what is counted in this process.

use std::sync::Arc;

use super::{Limiter, RedisState};
use crate::telemetry::{Metrics, Operation, Readings, raise, set_flag};

/// What Redis is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisOperation {
    /// To log a request and decide it.
    Record,
    /// To take in what the shield has refused.
    WriteBack,
    /// To tell the time.
    Time,
    /// To take in that this node is there, and to tell which others are.
    Beat,
    /// To take new connections.
    Connect,
}

impl Operation for RedisOperation {
    const ALL: &'static [Self] = &[
        Self::Record,
        Self::WriteBack,
        Self::Time,
        Self::Beat,
        Self::Connect,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::WriteBack => "write_back",
            Self::Time => "time",
            Self::Beat => "beat",
            Self::Connect => "connect",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Registers what `limiter` knows of itself when the metrics are asked for. Without a limiter they are all 0.
///
/// # Errors
/// If it is registered already.
pub fn register_limiter_metrics(
    metrics: &Metrics,
    limiter: Option<Arc<Limiter>>,
) -> Result<(), prometheus::Error> {
    let mut readings = Readings::default();
    let breaker_open = readings.gauge(
        "shunt_limiter_breaker_open",
        "1 while Redis, or a server of a cluster, is away and requests do not wait for it",
    )?;
    let breaker_opened = readings.counter(
        "shunt_limiter_breaker_opened_total",
        "How often Redis, or a server of a cluster, went away",
    )?;
    let nodes = readings.gauge(
        "shunt_limiter_nodes",
        "By how many nodes quotas are divided while Redis is away",
    )?;
    let wall_clock_ahead = readings.gauge(
        "shunt_limiter_wall_clock_ahead_seconds",
        "This machine's wall clock less Redis's; decisions do not depend on it",
    )?;
    let shielded_clients = readings.gauge(
        "shunt_limiter_shielded_clients",
        "Clients that are refused without asking Redis each time",
    )?;
    let connections = readings.gauge(
        "shunt_redis_connections",
        "Connections to Redis: one in common, and one for each thread that serves requests",
    )?;
    let local_clients = readings.gauge(
        "shunt_limiter_local_clients",
        "Clients counted in this process",
    )?;
    let local_bytes = readings.gauge(
        "shunt_limiter_local_bytes",
        "Memory for clients counted in this process, about",
    )?;
    let local_evictions = readings.counter(
        "shunt_limiter_local_evictions_total",
        "Clients forgotten for want of memory while they still counted",
    )?;
    metrics.read_on_request(readings, move || {
        let Some(limiter) = &limiter else {
            return;
        };
        let usage = limiter.usage();
        local_clients.set(usage.clients as f64);
        local_bytes.set(usage.bytes as f64);
        raise(&local_evictions, usage.evictions);
        if let Some(redis) = limiter.redis() {
            set_flag(&breaker_open, limiter.redis_state() != Some(RedisState::Up));
            raise(&breaker_opened, limiter.redis_outages());
            nodes.set(limiter.nodes().into());
            wall_clock_ahead.set(redis.store().wall_clock_ahead_seconds());
            shielded_clients.set(redis.shielded_clients() as f64);
            connections.set(redis.store().open_connections() as f64);
        }
    })
}
