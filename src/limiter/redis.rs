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
mod connections;
mod endpoint;

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{Cmd, Pipeline};
use tokio::time::timeout;

use self::{clock::RedisClock, connection::Connection, connections::Connections};
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
        };
        self.within(probe.run(&connection, &[], self.new_member))
            .await?;
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
        let record = Record {
            key: &policy.redis_key(client),
            quota: policy.quota,
            at,
        };
        let decision = async {
            let connection = self.connections.of_this_thread().await?;
            record.run(&connection, earlier, self.new_member).await
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
        for command in [
            add_entries(&key, entries),
            remove_old(&key, policy.quota, now),
            remove_surplus(&key, policy.quota),
            expire(&key, policy.quota),
        ] {
            pipeline.add_command(command).ignore();
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

/// The answers to the commands of [`Record::pipeline`] after the earlier entries: how many entries were added (0 if the member
/// is taken); two counts of removed ones; how many the log holds; the oldest two with their scores; whether the key is there.
type Recorded = (u64, i64, i64, u64, Vec<(i64, f64)>, i64);

/// A request to be logged and decided.
struct Record<'a> {
    key: &'a str,
    quota: Quota,
    at: LogTime,
}

impl Record<'_> {
    async fn run(
        &self,
        connection: &Connection,
        earlier: &[LogEntry],
        new_member: fn() -> i32,
    ) -> Result<Decision, StoreError> {
        for _ in 0..MEMBER_ATTEMPTS {
            let pipeline = self.pipeline(earlier, new_member());
            let recorded: Recorded = connection.execute(&pipeline).await?;
            let (added, _, _, logged, first, _) = recorded;
            if added == 1 {
                return Ok(self.decision(logged, &first));
            }
        }
        Err(StoreError::Failed(
            "every member that was tried is taken".into(),
        ))
    }

    fn pipeline(&self, earlier: &[LogEntry], member: i32) -> Pipeline {
        let Self { key, quota, at } = *self;
        let mut pipeline = Pipeline::with_capacity(7);
        pipeline.atomic();
        if !earlier.is_empty() {
            pipeline.add_command(add_entries(key, earlier)).ignore();
        }
        let mut add = command("ZADD", key, 3);
        add.arg("NX").arg(at.as_micros()).arg(member);
        let count = command("ZCARD", key, 0);
        let mut first = command("ZRANGE", key, 3);
        first.arg(0).arg(1).arg("WITHSCORES");
        pipeline
            .add_command(add)
            .add_command(remove_old(key, quota, at))
            .add_command(remove_surplus(key, quota))
            .add_command(count)
            .add_command(first)
            .add_command(expire(key, quota));
        pipeline
    }

    /// `first`: the oldest two entries, as members and scores.
    fn decision(&self, logged: u64, first: &[(i64, f64)]) -> Decision {
        let score = |index: usize| {
            let &(_, score) = first.get(index)?;
            // Whole microseconds until the year 2255 are below 2^53, which f64 holds exactly.
            Some(LogTime::from_micros(score as i64))
        };
        let oldest = score(0).unwrap_or(self.at);
        Decision::from_log(self.quota, self.at, logged, oldest, score(1))
    }
}

/// With room for `arguments` numbers or words, so that it does not grow with each.
fn command(name: &str, key: &str, arguments: usize) -> Cmd {
    /// The longest there are: Unix times in µs.
    const ARGUMENT: usize = 16;
    let mut command =
        Cmd::with_capacity(2 + arguments, name.len() + key.len() + arguments * ARGUMENT);
    command.arg(name).arg(key);
    command
}

fn add_entries(key: &str, entries: &[LogEntry]) -> Cmd {
    let mut add = command("ZADD", key, 1 + 2 * entries.len());
    add.arg("NX");
    for entry in entries {
        add.arg(entry.at.as_micros()).arg(entry.member);
    }
    add
}

/// What counts no more.
fn remove_old(key: &str, quota: Quota, now: LogTime) -> Cmd {
    let mut remove = command("ZREMRANGEBYSCORE", key, 2);
    let newest = now - quota.window();
    remove.arg("-inf").arg(newest.as_micros());
    remove
}

/// What can change no decision.
fn remove_surplus(key: &str, quota: Quota) -> Cmd {
    let mut remove = command("ZREMRANGEBYRANK", key, 2);
    remove.arg(0).arg(-i64::from(quota.limit()) - 2);
    remove
}

fn expire(key: &str, quota: Quota) -> Cmd {
    let mut expire = command("EXPIRE", key, 1);
    expire.arg(quota.window_seconds());
    expire
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
