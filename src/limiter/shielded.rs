//! Redis behind the flood shield.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ClientId, Decision, LogTime, Policy, RedisOperation, RedisStore, Source, StoreError,
    WindowStore,
    shield::{Opinion, Shield},
};
use crate::telemetry::StoreMetrics;

/// Backlogs that are on their way to Redis at once.
const WRITES_AT_ONCE: usize = 32;

/// The window logs in Redis, which is not asked about clients that are refused for certain.
pub struct ShieldedRedis {
    redis: RedisStore,
    shield: Option<Shield>,
    metrics: StoreMetrics<RedisOperation>,
}

impl ShieldedRedis {
    /// Asks Redis about every request.
    pub fn new(redis: RedisStore, metrics: StoreMetrics<RedisOperation>) -> Self {
        Self {
            redis,
            shield: None,
            metrics,
        }
    }

    /// Refuses floods by itself. [`write_back`](Self::write_back) must then be called every `interval`.
    #[must_use]
    pub fn with_shield(mut self, interval: Duration) -> Self {
        self.shield = Some(Shield::new(interval, self.redis.new_member()));
        self
    }

    /// The store behind the shield.
    pub fn store(&self) -> &RedisStore {
        &self.redis
    }

    /// How often [`write_back`](Self::write_back) has to be called; practically never without a shield.
    pub fn write_back_interval(&self) -> Duration {
        self.shield.as_ref().map_or(Duration::MAX, Shield::interval)
    }

    /// Clients that are refused without asking at the moment.
    pub fn shielded_clients(&self) -> usize {
        self.shield.as_ref().map_or(0, Shield::clients)
    }

    /// Logs a request of `client` that arrived at `at`, on Redis's clock, and decides it.
    ///
    /// # Errors
    /// [`StoreError`] if Redis had to decide and could not.
    pub async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<(Decision, Source), StoreError> {
        let Some(shield) = &self.shield else {
            let answer = self.redis.record_at(policy, client, at);
            return Ok((
                self.measured(RedisOperation::Record, answer).await?,
                Source::Redis,
            ));
        };
        let unwritten = match shield.consider(policy, client, at) {
            Opinion::Refused(decision) => return Ok((decision, Source::Shield)),
            Opinion::Ask(unwritten) => unwritten,
        };
        let answer = self.redis.record_after(&unwritten, policy, client, at);
        let answer = self.measured(RedisOperation::Record, answer).await;
        match &answer {
            Ok(decision) => shield.learn(policy, client, at, *decision, &unwritten),
            Err(StoreError::Key { .. }) => shield.forget(policy, client),
            Err(_) => {}
        }
        Ok((answer?, Source::Redis))
    }

    /// Tells Redis of the refusals since the last time.
    ///
    /// # Errors
    /// [`StoreError`] if it could not take them all; those stay for the next time. A client whose key is another's is
    /// forgotten: its next request finds out and says so.
    pub async fn write_back(&self, now: LogTime) -> Result<(), StoreError> {
        let Some(shield) = &self.shield else {
            return Ok(());
        };
        let writes = stream::iter(shield.backlog(now)).map(|backlog| async move {
            let entries = &backlog.entries;
            let answer = self
                .redis
                .add(entries, &backlog.policy, backlog.client, now);
            match self.measured(RedisOperation::WriteBack, answer).await {
                Ok(()) => shield.has_written(&backlog),
                Err(StoreError::Key { .. }) => shield.forget(&backlog.policy, backlog.client),
                Err(error) => return Err(error),
            }
            Ok(())
        });
        // Not one more after the first that fails: each would wait as long for a Redis that does not answer.
        writes.buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    /// Forgets whom to refuse: Redis was away and may know nothing of them any more, or the time has gone back.
    pub fn forget(&self) {
        if let Some(shield) = &self.shield {
            shield.clear();
        }
    }

    pub(super) async fn measured<T>(
        &self,
        operation: RedisOperation,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.metrics
            .measure(operation, answer, StoreError::kind)
            .await
    }
}
