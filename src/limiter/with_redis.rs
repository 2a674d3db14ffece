//! Redis behind its breaker: requests ask it while it is there.

use super::{
    Breaker, ClientId, Decision, Misconfiguration, NoRedis, OnRedisFailure, Policy, ShieldedRedis,
    Source, WindowStore, WindowStoreError, report::Report,
};

/// Redis, as far as it is there. `supervise.rs` has its background work.
pub(super) struct RedisLimiter {
    pub(super) redis: ShieldedRedis,
    pub(super) breaker: Breaker,
    pub(super) report: Report,
}

impl RedisLimiter {
    /// Tries to connect once. If that fails, the breaker starts open. `meanwhile` is only for the log.
    ///
    /// # Errors
    /// [`Misconfiguration::ClusterMember`]
    pub(super) async fn connect(
        redis: ShieldedRedis,
        meanwhile: OnRedisFailure,
    ) -> Result<Self, WindowStoreError> {
        let limiter = Self {
            redis,
            breaker: Breaker::default(),
            report: Report::new(meanwhile),
        };
        match limiter.redis.store().reconnect().await {
            Ok(()) => limiter.notice_clock_step(),
            Err(error @ WindowStoreError::Misconfigured(Misconfiguration::ClusterMember, _)) => {
                return Err(error);
            }
            Err(error) => limiter.open_breaker(&error, 0),
        }
        Ok(limiter)
    }

    /// Logs a request that arrives now and decides it, unless Redis is known to be away.
    pub(super) async fn decide(
        &self,
        policy: &Policy,
        client: ClientId,
    ) -> Result<(Decision, Source), NoRedis> {
        let Some(generation) = self.breaker.closed_generation() else {
            return Err(NoRedis::Away);
        };
        let now = self.redis.store().now();
        let answer = self.redis.record_at(policy, client, now).await;
        answer.map_err(|error| self.failed(&error, generation))
    }

    /// What follows from a failed request that began in `generation` of the breaker.
    fn failed(&self, error: &WindowStoreError, generation: u64) -> NoRedis {
        if let WindowStoreError::Key { .. } = error {
            self.report.key_is_taken(error);
            NoRedis::ForThisClient
        } else {
            self.open_breaker(error, generation);
            NoRedis::Away
        }
    }

    /// Opens the breaker, unless it has changed since `generation`. Each outage is logged once.
    pub(super) fn open_breaker(&self, error: &WindowStoreError, generation: u64) {
        if self.breaker.trip(generation) {
            self.redis.forget();
            self.report.is_away(error);
        }
    }

    /// Logs a step of Redis's clock, and forgets what depends on the times before it.
    pub(super) fn notice_clock_step(&self) {
        if let Some(step) = self.redis.store().take_clock_step() {
            if step.log_micros < 0 {
                self.redis.forget();
            }
            self.report.clock_step(step);
        }
    }

    pub(super) fn store(&self) -> &ShieldedRedis {
        &self.redis
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}
