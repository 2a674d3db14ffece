//! Window logs in Redis: one exact limit over any number of nodes.
//!
//! The log of a client is a sorted set (its key: [`KeyPrefix::log`]). A request is a few commands in one `MULTI`/`EXEC`
//! pipeline, and so one round trip.
//!
//! | command | why |
//! |---|---|
//! | `ZADD key NX t member` | first, so that of two nodes that race for the last slot each sees the other |
//! | `ZREMRANGEBYSCORE key -inf t−W` | removes entries that have left the window |
//! | `ZREMRANGEBYRANK key 0 -(L+2)` | removes entries that can change no decision: only the newest L + 1 can |
//! | `ZCARD key` | the request is admitted iff this is at most L |
//! | `ZRANGE key 0 1 WITHSCORES` | the client is admitted again when one of these entries leaves the window |
//! | `EXPIRE key W` | forgets a client that never returns |
//!
//! Scores are whole microseconds of Redis's own clock, [without its steps](timeline), and members are random 32-bit
//! integers. So both stay integers in Redis's compact listpack encoding: a client with 11 entries takes 264 bytes. With
//! members of 64 bits, which never collide, it would take 328. About once in 400 million requests at 10 per minute, a
//! member is in the log already. Then `NX` adds nothing, which the reply shows, and the request is logged with another
//! one.
//!
//! No entry is from the future, with one exception: if Redis has lost its mark, or another program has written into the
//! log, nodes do not know which timeline an entry is from. A client that is refused because of such an entry is refused
//! for longer than a window, and the reply shows it. In this case only, a node measures Redis's clock once more,
//! removes what is still more than a second ahead, and decides again.

mod agreement;
mod clock;
mod connection;
mod connections;
mod endpoint;
mod failure;
mod key;
mod record;
mod timeline;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{Pipeline, RedisError, cmd};
use tokio::time::timeout;
use tracing::warn;

use self::{
    agreement::SAMPLES_TO_SETTLE,
    clock::RedisClock,
    connection::Connection,
    connections::Connections,
    failure::Failures,
    record::{Record, Recorded, add_commands},
};
use super::{
    ClientId, Decision, LogEntry, LogTime, Policy, Quota, WindowStore, WindowStoreError,
    once_a_minute::OnceAMinute,
};
use crate::telemetry::chain;

pub use self::{
    clock::ClockStep,
    endpoint::{InvalidRedisUrl, RedisEndpoint},
    key::{InvalidKeyPrefix, KeyPrefix},
};

/// How many members are tried for one request. The second is hardly ever needed.
const MEMBER_ATTEMPTS: usize = 4;

/// How many keys a server is asked for when a node connects to it, to find out whether it is one server of a cluster.
/// One that owns half of the slots has all of these keys once in 10^19 times, one that owns nine of ten once in 800.
const KEYS_TO_TRY: usize = 64;

/// How a [`RedisStore`] reaches Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where Redis is.
    pub endpoint: RedisEndpoint,
    /// What all keys begin with.
    pub prefix: KeyPrefix,
    /// How long a request waits for an answer.
    pub timeout: Duration,
}

/// Window logs in Redis, by Redis's clock.
///
/// All requests of a thread use one multiplexed connection. The store does not reconnect by itself: the limiter's
/// background work calls [`reconnect`](Self::reconnect).
pub struct RedisStore {
    connections: Connections,
    failures: Failures,
    keys: KeyPrefix,
    clock: RedisClock,
    bad_mark: OnceAMinute,
    new_member: fn() -> i32,
    timeout: Duration,
}

impl RedisStore {
    /// A store that is not connected yet: call [`reconnect`](Self::reconnect).
    ///
    /// # Errors
    /// [`WindowStoreError::Connect`] if the client library cannot use the endpoint.
    pub fn new(options: &RedisOptions) -> Result<Self, WindowStoreError> {
        let failures = Failures::new(&options.endpoint, &options.prefix);
        let patience = options.timeout / 2;
        Ok(Self {
            connections: Connections::new(&options.endpoint, failures.clone(), patience)?,
            failures,
            keys: options.prefix.clone(),
            clock: RedisClock::new(),
            bad_mark: OnceAMinute::default(),
            new_member: rand::random,
            timeout: options.timeout,
        })
    }

    /// Takes members from `new_member` instead of the random generator, so that a test can make them collide.
    #[must_use]
    pub fn with_members(mut self, new_member: fn() -> i32) -> Self {
        self.new_member = new_member;
        self
    }

    pub(super) fn new_member(&self) -> fn() -> i32 {
        self.new_member
    }

    /// Makes a new connection, proves with a write, within the timeout of a request, that Redis can serve requests, and
    /// measures Redis's clock. The old connections of all threads are not used any more.
    ///
    /// # Errors
    /// [`WindowStoreError`] if any of this fails. The store then stays disconnected.
    pub async fn reconnect(&self) -> Result<(), WindowStoreError> {
        self.connections.give_up();
        let common = self.connections.connect().await?;
        let connection = &common.connection;
        // It does not matter what the key holds. What counts is that Redis would have written.
        match self.probe(connection).await {
            Ok(()) | Err(WindowStoreError::Key { .. }) => {}
            Err(error) => return Err(error),
        }
        self.measure_clock(connection, SAMPLES_TO_SETTLE).await?;
        self.connections.establish(common);
        Ok(())
    }

    async fn probe(&self, connection: &Connection) -> Result<(), WindowStoreError> {
        let key = |_| self.keys.probe(rand::random());
        let some = (0..KEYS_TO_TRY).map(key);
        self.within(connection.serves(some), "").await?;
        let key = self.keys.probe(rand::random());
        let probe = Record {
            key: &key,
            quota: Quota::one_per_second(),
            at: LogTime::from_micros(1),
            member: (self.new_member)(),
            earlier: &[],
            removes_ahead: false,
        };
        self.within(connection.record(&probe), &key).await?;
        Ok(())
    }

    /// Measures Redis's clock again. This also notices that Redis is away although no request comes.
    ///
    /// # Errors
    /// [`WindowStoreError`] if Redis does not answer within the timeout.
    pub async fn sample_clock(&self) -> Result<(), WindowStoreError> {
        let connection = self.connections.common()?;
        self.measure_clock(&connection, 1).await?;
        // If a thread's connection does not answer, its requests will notice.
        let _ = timeout(self.timeout, self.connections.keep_alive()).await;
        Ok(())
    }

    /// The last step of Redis's clock that was noticed since the last call, if any was.
    pub fn take_clock_step(&self) -> Option<ClockStep> {
        self.clock.take_step()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// How many seconds this machine's wall clock is ahead of Redis's. Decisions do not depend on it; operators may
    /// want to know.
    pub fn wall_clock_ahead_seconds(&self) -> f64 {
        self.clock.wall_clock_ahead_seconds()
    }

    /// Adds `earlier` requests of the client to its log, then does as [`record_at`](WindowStore::record_at).
    pub(super) async fn record_after(
        &self,
        earlier: &[LogEntry],
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, WindowStoreError> {
        let key = self.keys.log(policy, client);
        let decision = async {
            let connection = self.connections.of_this_thread().await?;
            for _ in 0..MEMBER_ATTEMPTS {
                let record = Record {
                    key: &key,
                    quota: policy.quota,
                    at,
                    member: (self.new_member)(),
                    earlier,
                    removes_ahead: false,
                };
                let recorded = connection.record(&record).await;
                match recorded.map_err(|error| self.failures.sort(error, &key))? {
                    None => {}
                    Some(recorded) if recorded.is_from_ahead => {
                        return Box::pin(self.record_without_what_is_ahead(&connection, record))
                            .await;
                    }
                    Some(Recorded { decision, .. }) => return Ok(decision),
                }
            }
            Err(WindowStoreError::Failed(
                "every member that was tried is taken".into(),
            ))
        };
        let decision = timeout(self.timeout, decision).await;
        let decision = decision.unwrap_or(Err(WindowStoreError::Timeout(self.timeout)));
        if let Err(WindowStoreError::Key { key, .. }) = &decision {
            Box::pin(self.leave_alone(key)).await;
        }
        decision
    }

    /// Measures the time once more, removes what is still ahead from the log, and decides the request again. Without
    /// the measurement, a node that stood still would take what others have just logged for the future.
    async fn record_without_what_is_ahead(
        &self,
        connection: &Connection,
        mut record: Record<'_>,
    ) -> Result<Decision, WindowStoreError> {
        self.measure_clock(connection, 1).await?;
        record.at = record.at.max(self.clock.now());
        record.earlier = &[];
        record.removes_ahead = true;
        let recorded = connection.record(&record).await;
        let recorded = recorded.map_err(|error| self.failures.sort(error, record.key))?;
        recorded
            .map(|recorded| recorded.decision)
            .ok_or(WindowStoreError::Failed("no decision".into()))
    }

    /// Undoes the `EXPIRE` on a key that is not Shunt's, so that Redis does not delete the key when a window is over.
    async fn leave_alone(&self, key: &str) {
        let persist = async {
            let connection = self.connections.common()?;
            let mut persist = cmd("PERSIST");
            persist.arg(key);
            self.within(connection.query::<i64>(&persist), key).await
        };
        if let Err(error) = persist.await {
            warn!(error = chain(&error), "a key that is not shunt's expires");
        }
    }

    /// Adds `entries` to the log of a client unless they are in it already. Decides nothing.
    pub(super) async fn add(
        &self,
        entries: &[LogEntry],
        policy: &Policy,
        client: ClientId,
        now: LogTime,
    ) -> Result<(), WindowStoreError> {
        let connection = self.connections.common()?;
        let key = self.keys.log(policy, client);
        let mut pipeline = Pipeline::with_capacity(4);
        pipeline.atomic();
        for command in add_commands(&key, entries, policy.quota, now) {
            pipeline.add_command(command);
        }
        let added = self.within(connection.execute(&pipeline), &key).await;
        if let Err(WindowStoreError::Key { .. }) = &added {
            self.leave_alone(&key).await;
        }
        added
    }

    /// The answer to commands about `key`, if it comes in time.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
        key: &str,
    ) -> Result<T, WindowStoreError> {
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| self.failures.sort(error, key)),
            Err(_) => Err(WindowStoreError::Timeout(self.timeout)),
        }
    }
}

#[async_trait]
impl WindowStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    /// Redis's clock without its steps, carried forward by this machine's boot clock.
    fn now(&self) -> LogTime {
        self.clock.now()
    }

    async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, WindowStoreError> {
        self.record_after(&[], policy, client, at).await
    }
}
