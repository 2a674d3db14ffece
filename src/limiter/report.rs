//! What the log says about Redis.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    ClockStep, Misconfiguration, OnRedisFailure, WindowStoreError, nodes::Nodes,
    once_a_minute::OnceAMinute, redis::Generation,
};
use crate::telemetry::chain;

/// Writes the log lines, each once per outage, or once a minute if any request may cause it.
pub(super) struct Report {
    meanwhile: OnRedisFailure,
    /// The misconfiguration that was logged last. A Redis that comes back clears it.
    misconfiguration: Mutex<Option<Misconfiguration>>,
    /// The kind of the error that was logged last as the reason why Redis is away.
    reason: Mutex<&'static str>,
    still_away: OnceAMinute,
    taken_key: OnceAMinute,
    no_beats: OnceAMinute,
    unanswered: OnceAMinute,
}

impl Report {
    /// `meanwhile` holds while Redis is away.
    pub(super) fn new(meanwhile: OnRedisFailure) -> Self {
        Self {
            meanwhile,
            misconfiguration: Mutex::default(),
            reason: Mutex::default(),
            still_away: OnceAMinute::default(),
            taken_key: OnceAMinute::default(),
            no_beats: OnceAMinute::default(),
            unanswered: OnceAMinute::default(),
        }
    }

    /// The breaker has just opened because of `error`. In a cluster, this concerns only the clients of `server`. `nodes`
    /// divide what is left of the quotas.
    pub(super) fn is_away(&self, error: &WindowStoreError, server: Option<String>, nodes: &Nodes) {
        if !self.is_misconfigured(error) {
            warn!(
                error = chain(error),
                server,
                meanwhile = %self.meanwhile,
                nodes = self.divides().then(|| nodes.number().get()),
                "redis is away"
            );
            *self.reason() = error.kind();
        }
    }

    /// This node starts without Redis. Does nothing if somebody has told it how many nodes there are.
    pub(super) fn counts_alone(&self, nodes: &Nodes) {
        if self.divides() && nodes.known().is_none() {
            warn!(
                "this node has not reached redis yet and takes itself for the only one: set limiter.nodes if there may be others"
            );
        }
    }

    fn divides(&self) -> bool {
        self.meanwhile == OnRedisFailure::Split
    }

    /// Redis cannot be used again because of `error`, which may differ from the one that opened the breaker: a Redis that
    /// was restarted may be out of memory.
    pub(super) fn is_still_away(&self, error: &WindowStoreError, server: Option<String>) {
        if self.is_misconfigured(error) {
            return;
        }
        let mut logged = self.reason();
        if *logged != error.kind() && self.still_away.is_due() {
            warn!(error = chain(error), server, "redis is still away");
            *logged = error.kind();
        }
    }

    /// Whether Redis is there, but not as the configuration says. Logs each misconfiguration once.
    fn is_misconfigured(&self, error: &WindowStoreError) -> bool {
        let WindowStoreError::Misconfigured(misconfiguration, _) = error else {
            return false;
        };
        let mut logged = self.misconfiguration();
        if logged.as_ref() != Some(misconfiguration) {
            warn!(
                error = chain(error),
                grant = misconfiguration.grant(),
                meanwhile = %self.meanwhile,
                "redis cannot be used as it is configured"
            );
            *logged = Some(misconfiguration.clone());
        }
        true
    }

    /// The breaker has just closed.
    pub(super) fn is_back(&self, away_for: Duration, server: Option<String>) {
        *self.misconfiguration() = None;
        info!(?away_for, server, "redis is back");
    }

    /// Redis has not answered in time, which is no outage yet.
    pub(super) fn is_unanswered(&self, error: &WindowStoreError) {
        if self.unanswered.is_due() {
            warn!(
                error = chain(error),
                meanwhile = %self.meanwhile,
                "redis has not answered in time"
            );
        }
    }

    /// The key of one client's log holds something else. Any request of that client causes this.
    pub(super) fn key_is_taken(&self, error: &WindowStoreError) {
        if self.taken_key.is_due() {
            warn!(
                error = chain(error),
                "a client is counted by each node for itself: delete its key, or set redis.prefix"
            );
        }
    }

    /// The key in which the nodes beat holds something else.
    pub(super) fn no_beats(&self, error: &WindowStoreError) {
        if self.no_beats.is_due() {
            warn!(
                error = chain(error),
                "nodes that start now are not counted: delete the key, or set redis.prefix"
            );
        }
    }

    /// Redis does not hold what it has held. The nodes enter `generation`.
    pub(super) fn lost_writes(&self, generation: Generation) {
        warn!(%generation, "redis has lost what nodes have written");
    }

    /// Redis's clock was stepped, or seems so from here.
    pub(super) fn clock_step(&self, step: ClockStep) {
        let ClockStep {
            redis_micros,
            log_micros,
        } = step;
        let seconds = |micros: i64| format!("{:+.1}s", micros as f64 / 1e6);
        let (by, logs_by) = (seconds(redis_micros), seconds(log_micros));
        if log_micros.abs() >= redis_micros.abs() / 2 {
            warn!(
                by,
                logs_by,
                "this node's time and redis's differ: redis's clock was stepped, or this machine stood still"
            );
        } else if redis_micros < 0 {
            warn!(
                by,
                "redis's clock was set back; the window logs go on as if it were not"
            );
        } else {
            warn!(
                by,
                "redis's clock was set forward; the window logs go on as if it were not, except keys that have expired"
            );
        }
    }

    fn reason(&self) -> MutexGuard<'_, &'static str> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misconfiguration(&self) -> MutexGuard<'_, Option<Misconfiguration>> {
        let misconfiguration = self.misconfiguration.lock();
        misconfiguration.unwrap_or_else(PoisonError::into_inner)
    }
}
