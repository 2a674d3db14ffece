//! Window logs in Redis: one exact limit over any number of nodes.
//!
//! A client's log is a sorted set (key: [`Policy::redis_key`]), a request is a few commands in one `MULTI`/`EXEC`
//! pipeline and so one round trip.
//!
//! | command | why |
//! |---|---|
//! | `ZADD key NX t member` | first, so that two nodes racing for the last slot both see each other |
//! | `ZREMRANGEBYSCORE key -inf t−W` | what no longer counts |
//! | `ZREMRANGEBYRANK key 0 -(L+2)` | what can change no decision: only the newest L + 1 can |
//! | `ZCARD key` | admitted iff at most L |
//! | `ZRANGE key 0 1 WITHSCORES` | the entry whose leaving admits the client again |
//! | `EXPIRE key W` | a client that never returns is forgotten |
//!
//! Scores are whole microseconds of Redis's own clock and members are random 32-bit integers, so both stay integers
//! in Redis's compact listpack encoding: 264 bytes for a client with 11 entries, where the 64 bits that could
//! never collide would cost 328. A member that a log has already (about once in 400 million requests at
//! 10 per minute) is noticed, because `NX` then adds nothing, and the request is logged with another one.

mod clock;
mod connection;
mod connections;
mod endpoint;
mod record;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::Pipeline;
use tokio::time::timeout;

use self::{
    clock::RedisClock,
    connection::Connection,
    connections::Connections,
    record::{Record, add_commands},
};
use super::{ClientId, Decision, LogEntry, LogTime, Policy, Quota, StoreError, WindowStore};

pub use self::endpoint::{InvalidRedisUrl, RedisEndpoint};

/// Written by [`RedisStore::reconnect`] to prove that Redis takes writes. No client is called so.
const PROBE_KEY: &str = "rate_limit_probe";

/// Members that are tried for one request. A second is hardly ever needed.
const MEMBER_ATTEMPTS: usize = 4;

/// How a [`RedisStore`] reaches Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where it is.
    pub endpoint: RedisEndpoint,
    /// How long a request waits for an answer.
    pub timeout: Duration,
}

/// Window logs in Redis, by Redis's clock.
///
/// Requests share multiplexed connections, one for each thread: a checkout from a pool for each request would cost
/// the pool's `PING`. The store does not reconnect by itself; [`reconnect`](Self::reconnect) is called by the limiter's
/// supervisor.
pub struct RedisStore {
    connections: Connections,
    clock: RedisClock,
    new_member: fn() -> i32,
    timeout: Duration,
}

impl RedisStore {
    /// A store that is not connected yet: call [`reconnect`](Self::reconnect).
    ///
    /// # Errors
    /// [`StoreError::Connect`] if the endpoint is one that the client library refuses.
    pub fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        Ok(Self {
            connections: Connections::new(&options.endpoint, options.timeout / 2)?,
            clock: RedisClock::new(),
            new_member: rand::random,
            timeout: options.timeout,
        })
    }

    /// Takes members from elsewhere than the random generator, so that a test can make them collide.
    #[must_use]
    pub fn with_members(mut self, new_member: fn() -> i32) -> Self {
        self.new_member = new_member;
        self
    }

    pub(super) fn new_member(&self) -> fn() -> i32 {
        self.new_member
    }

    /// Makes a new connection, measures Redis's clock on it, and proves with a write within the timeout of a request
    /// that Redis can serve requests. The old connections, of all threads, are of no more use then.
    ///
    /// # Errors
    /// [`StoreError`] if any of that fails; the store then stays disconnected.
    pub async fn reconnect(&self) -> Result<(), StoreError> {
        self.connections.give_up();
        let connection = self.connections.connect().await?;
        for _ in 0..3 {
            self.sample_clock_on(&connection).await?;
        }
        let probe = Record {
            key: PROBE_KEY,
            quota: Quota::one_per_second(),
            at: self.now(),
            member: (self.new_member)(),
            earlier: &[],
        };
        // Also if its member is taken: what counts is that Redis would have written.
        self.within(connection.record(&probe)).await?;
        self.connections.establish(connection);
        Ok(())
    }

    /// Measures Redis's clock again; also notices a Redis that went away while nobody asked it.
    ///
    /// # Errors
    /// [`StoreError`] if Redis does not answer within the timeout.
    pub async fn sample_clock(&self) -> Result<(), StoreError> {
        let connection = self.connections.common()?;
        self.sample_clock_on(&connection).await?;
        let others = async {
            self.connections.keep_alive().await;
            Ok(())
        };
        // One that does not answer is noticed by its thread's requests.
        let _ = self.within(others).await;
        Ok(())
    }

    /// Connections that are open at the moment.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// How far this machine's wall clock is ahead of Redis's, in seconds. Decisions do not depend on it;
    /// an operator may want to know.
    pub fn wall_clock_ahead_seconds(&self) -> f64 {
        self.clock.wall_clock_ahead_seconds()
    }

    /// As [`record_at`](WindowStore::record_at), once `earlier` requests of the client stand in its log too.
    pub(super) async fn record_after(
        &self,
        earlier: &[LogEntry],
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, StoreError> {
        let key = policy.redis_key(client);
        let decision = async {
            let connection = self.connections.of_this_thread().await?;
            for _ in 0..MEMBER_ATTEMPTS {
                let record = Record {
                    key: &key,
                    quota: policy.quota,
                    at,
                    member: (self.new_member)(),
                    earlier,
                };
                if let Some(decision) = connection.record(&record).await? {
                    return Ok(decision);
                }
            }
            Err(StoreError::Failed(
                "every member that was tried is taken".into(),
            ))
        };
        self.within(decision).await
    }

    /// Adds `entries` to the log of a client, where they are not there yet. Decides nothing.
    pub(super) async fn add(
        &self,
        entries: &[LogEntry],
        policy: &Policy,
        client: ClientId,
        now: LogTime,
    ) -> Result<(), StoreError> {
        let connection = self.connections.common()?;
        let key = policy.redis_key(client);
        let mut pipeline = Pipeline::with_capacity(4);
        pipeline.atomic();
        for command in add_commands(&key, entries, policy.quota, now) {
            pipeline.add_command(command);
        }
        self.within(connection.execute(&pipeline)).await
    }

    async fn sample_clock_on(&self, connection: &Connection) -> Result<(), StoreError> {
        let sent = self.clock.start_sample();
        let redis_time = self.within(connection.time()).await?;
        self.clock.finish_sample(sent, redis_time);
        Ok(())
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(self.timeout, answer)
            .await
            .unwrap_or(Err(StoreError::Timeout(self.timeout)))
    }
}

#[async_trait]
impl WindowStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    /// Redis's clock, carried forward by this machine's monotonic one.
    fn now(&self) -> LogTime {
        self.clock.now()
    }

    async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, StoreError> {
        self.record_after(&[], policy, client, at).await
    }
}
