//! Window logs in Redis: one exact limit over any number of nodes.
//!
//! A client's log is a sorted set (key: [`KeyPrefix::log`]), a request is a few commands in one `MULTI`/`EXEC`
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
//! Scores are whole microseconds of Redis's own clock, [without its steps](timeline), and members are random 32-bit
//! integers, so both stay integers in Redis's compact listpack encoding: 264 bytes for a client with 11 entries, where
//! the 64 bits that could never collide would cost 328. A member that a log has already (about once in 400 million
//! requests at 10 per minute) is noticed, because `NX` then adds nothing, and the request is logged with another one.
//!
//! No entry is from the future, then, but where nobody knows any more which timeline it is from: Redis has lost its
//! mark, or somebody else has written into the log. A client that is refused for such an entry is refused for longer
//! than a window, and the reply shows it. Then, and only then, a node measures Redis's clock once more, removes what is
//! still further ahead than a second, and decides again.

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
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use self::{
    clock::RedisClock,
    connection::Connection,
    connections::Connections,
    failure::Failures,
    record::{Record, Recorded, add_commands},
    timeline::Mark,
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

/// Members that are tried for one request. A second is hardly ever needed.
const MEMBER_ATTEMPTS: usize = 4;

/// Times that Redis's clock is measured when nothing is known of it, or what was known does not hold any more.
const SAMPLES_TO_SETTLE: usize = 3;

/// Keys that a server is asked for when it is connected to: one of a cluster that owns half of the slots has all of
/// them once in 10^19 times, and one that owns nine of ten once in 800.
const KEYS_TO_TRY: usize = 64;

/// How long a node that starts waits for others to confirm a mark that seems to be of long ago: they do so once a
/// second.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// How long the mark is kept, s: as long as the longest window, 366 days, and a day.
const MARK_SECONDS: u64 = 367 * 86_400;

/// How a [`RedisStore`] reaches Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where it is.
    pub endpoint: RedisEndpoint,
    /// What all keys begin with.
    pub prefix: KeyPrefix,
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
    /// [`WindowStoreError::Connect`] if the endpoint is one that the client library refuses.
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
    /// [`WindowStoreError`] if any of that fails; the store then stays disconnected.
    pub async fn reconnect(&self) -> Result<(), WindowStoreError> {
        self.connections.give_up();
        let connection = self.connections.connect().await?;
        // What stands there does not matter: what counts is that Redis would have written.
        match self.probe(&connection).await {
            Ok(()) | Err(WindowStoreError::Key { .. }) => {}
            Err(error) => return Err(error),
        }
        self.measure_clock(&connection, SAMPLES_TO_SETTLE).await?;
        self.connections.establish(connection);
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

    /// Measures Redis's clock again; also notices a Redis that went away while nobody asked it.
    ///
    /// # Errors
    /// [`WindowStoreError`] if Redis does not answer within the timeout.
    pub async fn sample_clock(&self) -> Result<(), WindowStoreError> {
        let connection = self.connections.common()?;
        self.measure_clock(&connection, 1).await?;
        // One that does not answer is noticed by its thread's requests.
        let _ = timeout(self.timeout, self.connections.keep_alive()).await;
        Ok(())
    }

    /// The last step of Redis's clock that was noticed since this was last asked, if any was.
    pub fn take_clock_step(&self) -> Option<ClockStep> {
        self.clock.take_step()
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

    /// Decides a request anew, on a log from which all has been removed that is still ahead when this node has measured
    /// the time once more: one that stood still would take what others have just logged for the future.
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

    /// Takes back what an `EXPIRE` has done to a key that is somebody else's: it would be deleted when a window is
    /// over.
    async fn leave_alone(&self, key: &str) {
        let persist = async {
            let connection = self.connections.common()?;
            let mut persist = cmd("PERSIST");
            persist.arg(key);
            self.within(connection.query::<i64>(&persist), key).await
        };
        if let Err(error) = persist.await {
            warn!(error = chain(&error), "a key that is none of ours expires");
        }
    }

    /// Adds `entries` to the log of a client, where they are not there yet. Decides nothing.
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

    /// Measures Redis's clock, at least so many times, and agrees with the other nodes on what that means.
    async fn measure_clock(
        &self,
        connection: &Connection,
        times: usize,
    ) -> Result<(), WindowStoreError> {
        let mut needed = times;
        let mut done = 0;
        while done < needed {
            let sent = self.clock.start_sample();
            let redis_time = self.within(connection.time(), "").await?;
            if !self.clock.finish_sample(sent, redis_time) {
                needed = SAMPLES_TO_SETTLE;
            }
            done += 1;
        }
        match self.share_timeline(connection).await {
            // It goes on by what it knows itself.
            Err(error @ WindowStoreError::Key { .. }) => {
                self.clock.settle(None);
                if self.bad_mark.is_due() {
                    warn!(
                        error = chain(&error),
                        "nodes that start after a step of Redis's clock will not know of it"
                    );
                }
                Ok(())
            }
            shared => shared,
        }
    }

    /// Reads the mark, settles the timeline, and confirms or replaces the mark.
    async fn share_timeline(&self, connection: &Connection) -> Result<(), WindowStoreError> {
        let key = self.keys.clock();
        let mut mark = self.read_mark(connection, &key).await?;
        let patience = Instant::now() + CONFIRMATION;
        while self.clock.awaits(mark) && Instant::now() < patience {
            sleep(CONFIRMATION / 20).await;
            mark = self.read_mark(connection, &key).await?;
        }
        self.clock.settle(mark);
        let mut set = cmd("SET");
        set.arg(&key).arg(self.clock.mark().to_string());
        set.arg("EX").arg(MARK_SECONDS);
        self.within(connection.query::<()>(&set), &key).await
    }

    async fn read_mark(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<Mark>, WindowStoreError> {
        let mut get = cmd("GET");
        get.arg(key);
        let stands: Option<Vec<u8>> = self.within(connection.query(&get), key).await?;
        let Some(stands) = stands else {
            return Ok(None);
        };
        Mark::parse(&stands)
            .map(Some)
            .ok_or_else(|| WindowStoreError::Key {
                key: key.to_owned(),
                error: "it holds no mark of a clock".into(),
            })
    }

    /// The answer to something about `key`, if it comes in time.
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

    /// Redis's clock without its steps, carried forward by this machine's clock since it was started.
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
