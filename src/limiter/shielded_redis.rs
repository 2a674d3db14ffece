//! Redis behind the flood shield.

use std::{ops::ControlFlow, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ClientId, Decision, LogTime, Policy, RedisOperation, RedisStore, Source, WindowStore,
    WindowStoreError, shield::Shield,
};
use crate::telemetry::StoreMetrics;

/// How many backlogs are on their way to Redis at once.
const WRITES_AT_ONCE: usize = 32;

/// The window logs in Redis. Clients that are certain to be refused cost no round trip.
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

    /// Refuses floods without asking. [`write_back`](Self::write_back) must then be called every `interval`.
    #[must_use]
    pub fn with_shield(mut self, interval: Duration) -> Self {
        self.shield = Some(Shield::new(interval, self.redis.new_member()));
        self
    }

    /// The store behind the shield.
    pub fn store(&self) -> &RedisStore {
        &self.redis
    }

    /// How often [`write_back`](Self::write_back) must be called. Without a shield it need not be, and this is
    /// [`Duration::MAX`].
    pub fn write_back_interval(&self) -> Duration {
        self.shield.as_ref().map_or(Duration::MAX, Shield::interval)
    }

    /// How many clients are refused without asking at the moment.
    pub fn shielded_clients(&self) -> usize {
        self.shield.as_ref().map_or(0, Shield::clients)
    }

    /// Logs a request of `client` that arrived at `at`, on Redis's clock, and decides it.
    ///
    /// # Errors
    /// [`WindowStoreError`] if Redis had to decide and could not.
    pub async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<(Decision, Source), WindowStoreError> {
        let Some(shield) = &self.shield else {
            let answer = self.redis.record_at(policy, client, at);
            return Ok((
                self.measured(RedisOperation::Record, answer).await?,
                Source::Redis,
            ));
        };
        let unwritten = match shield.consider(policy, client, at) {
            ControlFlow::Break(refusal) => return Ok((refusal, Source::Shield)),
            ControlFlow::Continue(unwritten) => unwritten,
        };
        let answer = self.redis.record_after(&unwritten, policy, client, at);
        let answer = self.measured(RedisOperation::Record, answer).await;
        match &answer {
            Ok(decision) => shield.learn(policy, client, at, *decision, &unwritten),
            Err(WindowStoreError::Key { .. }) => shield.forget(policy, client),
            Err(_) => {}
        }
        Ok((answer?, Source::Redis))
    }

    /// Tells Redis what the shield has refused since the last time.
    ///
    /// # Errors
    /// [`WindowStoreError`] if Redis could not take all of it; the rest stays for the next time. A client whose key
    /// holds something else is no error: the shield forgets it, and its next request reports the key.
    pub async fn write_back(&self, now: LogTime) -> Result<(), WindowStoreError> {
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
                Err(WindowStoreError::Key { .. }) => {
                    shield.forget(&backlog.policy, backlog.client);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        });
        // Stops at the first failure: if Redis does not answer, each further write would wait for the whole timeout.
        writes.buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    /// Makes the shield forget all clients: Redis was away and may have lost their logs, or log times have gone back.
    pub fn forget(&self) {
        if let Some(shield) = &self.shield {
            shield.clear();
        }
    }

    /// Runs an operation of the store and measures it.
    pub(super) fn measured<T>(
        &self,
        operation: RedisOperation,
        answer: impl Future<Output = Result<T, WindowStoreError>>,
    ) -> impl Future<Output = Result<T, WindowStoreError>> {
        self.metrics
            .measure(operation, answer, WindowStoreError::kind)
    }
}
