//! Window logs in Redis: one exact limit over any number of nodes.
//!
//! A client's log is a sorted set (key: [`Policy::redis_key`]), a request is one `MULTI`/`EXEC`
//! pipeline and so one round trip:
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
mod endpoint;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use deadpool_redis::redis::Pipeline;
use tokio::time::timeout;

use self::{
    clock::RedisClock,
    connection::{Connection, ConnectionPool, PoolUsage},
};
use super::{ClientId, Decision, LogTime, Policy, Quota, StoreError, WindowStore};

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
/// All requests share one multiplexed connection, checked out of the pool once: a checkout per request
/// would cost each the pool's `PING`. The store does not reconnect by itself;
/// [`reconnect`](Self::reconnect) is called by the limiter's supervisor.
pub struct RedisStore {
    pool: ConnectionPool,
    connection: ArcSwapOption<Connection>,
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
            pool: ConnectionPool::new(&options.endpoint, options.timeout)?,
            connection: ArcSwapOption::empty(),
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

    /// Replaces the connection unless it still answers, measures Redis's clock on it, and proves
    /// with a write within the timeout of a request that Redis can serve requests.
    ///
    /// # Errors
    /// [`StoreError`] if any of that fails; the store then stays disconnected.
    pub async fn reconnect(&self) -> Result<(), StoreError> {
        // Handing the old connection back lets the pool try it with a PING before it makes another.
        self.connection.store(None);
        let connection = self.pool.get().await?;
        for _ in 0..3 {
            self.sample_clock_on(&connection).await?;
        }
        self.run(&connection, PROBE_KEY, Quota::one_per_second(), self.now())
            .await?;
        self.connection.store(Some(Arc::new(connection)));
        Ok(())
    }

    /// Measures Redis's clock again; also notices a Redis that went away while nobody asked it.
    ///
    /// # Errors
    /// [`StoreError`] if Redis does not answer within the timeout.
    pub async fn sample_clock(&self) -> Result<(), StoreError> {
        let connection = self
            .connection
            .load_full()
            .ok_or(StoreError::Disconnected)?;
        self.sample_clock_on(&connection).await
    }

    /// Connections: in use, idle, and the most there may be.
    pub fn pool_usage(&self) -> (usize, usize, usize) {
        let PoolUsage { in_use, idle, max } = self.pool.usage();
        (in_use, idle, max)
    }

    /// How far this machine's wall clock is ahead of Redis's, in seconds. Decisions do not depend on it;
    /// an operator may want to know.
    pub fn wall_clock_ahead_seconds(&self) -> f64 {
        self.clock.wall_clock_ahead_seconds()
    }

    async fn sample_clock_on(&self, connection: &Connection) -> Result<(), StoreError> {
        let sent = self.clock.start_sample();
        let redis_time = self.within(connection.time()).await?;
        self.clock.finish_sample(sent, redis_time);
        Ok(())
    }

    async fn run(
        &self,
        connection: &Connection,
        key: &str,
        quota: Quota,
        at: LogTime,
    ) -> Result<Decision, StoreError> {
        for _ in 0..MEMBER_ATTEMPTS {
            let pipeline = record_pipeline(key, quota, at, (self.new_member)());
            let (added, logged, first) = self.within(connection.execute(&pipeline)).await?;
            if added == 1 {
                return Ok(decision(quota, at, logged, &first));
            }
        }
        Err(StoreError::Failed(
            "every member that was tried is taken".into(),
        ))
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, deadpool_redis::redis::RedisError>>,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(StoreError::Failed(error.into())),
            Err(_) => Err(StoreError::Timeout(self.timeout)),
        }
    }
}

/// `first`: the oldest two entries, as members and scores.
fn decision(quota: Quota, at: LogTime, logged: u64, first: &[(i64, f64)]) -> Decision {
    let score = |index: usize| {
        let &(_, score) = first.get(index)?;
        // Whole microseconds until the year 2255 are below 2^53, which f64 holds exactly.
        Some(LogTime::from_micros(score as i64))
    };
    Decision::from_log(quota, at, logged, score(0).unwrap_or(at), score(1))
}

fn record_pipeline(key: &str, quota: Quota, at: LogTime, member: i32) -> Pipeline {
    let now = at.as_micros();
    let mut pipeline = Pipeline::with_capacity(6);
    pipeline
        .atomic()
        .cmd("ZADD")
        .arg(key)
        .arg("NX")
        .arg(now)
        .arg(member)
        .cmd("ZREMRANGEBYSCORE")
        .arg(key)
        .arg("-inf")
        .arg(now - quota.window_micros())
        .ignore()
        .cmd("ZREMRANGEBYRANK")
        .arg(key)
        .arg(0)
        .arg(-i64::from(quota.limit()) - 2)
        .ignore()
        .cmd("ZCARD")
        .arg(key)
        .cmd("ZRANGE")
        .arg(key)
        .arg(0)
        .arg(1)
        .arg("WITHSCORES")
        .cmd("EXPIRE")
        .arg(key)
        .arg(quota.window_seconds())
        .ignore();
    pipeline
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
        let connection = self
            .connection
            .load_full()
            .ok_or(StoreError::Disconnected)?;
        let key = policy.redis_key(client);
        self.run(&connection, &key, policy.quota, at).await
    }
}
