//! Window logs in Redis: one exact limit over any number of nodes.
//!
//! The log of a client is a sorted set (its key: [`KeyPrefix::log`]). A request is a few commands in one `MULTI`/`EXEC`
//! pipeline, and so one round trip.
//!
//! | command | why |
//! |---|---|
//! | `ZADD key NX t member` | first, so that of two nodes that race for the last slot each sees the other |
//! | `ZREMRANGEBYSCORE key -inf t−W` | removes entries that have left the window |
//! | `ZCARD key` | the request is admitted iff this is at most L |
//! | `ZRANGE key 0 1 WITHSCORES` | the client is admitted again when one of these entries leaves the window |
//! | `EXPIRE key W` | forgets a client that never returns |
//!
//! Only the newest L + 1 entries can change a decision. If the log has more, which only a client over its quota
//! achieves, a second transaction removes the others and asks for the two entries again: `ZREMRANGEBYRANK key 0 -(L+2)`,
//! `ZRANGE key -(L+1) -L WITHSCORES`. So the log never has more entries than L + 1 and one for each request that is
//! under way. A request that brings what the node has kept back has the first of the two commands in its own
//! transaction, before `ZCARD`.
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
//!
//! A request is sent again if its connection was lost, or if its answer came so late that it [may count too
//! few](doubt). It keeps its time and its member, so it counts once, however often Redis reads it. `ZSCORE key member`
//! is then asked first: if the log has the member with the same time, the request is in it already.

mod agreement;
mod alarm;
pub(super) mod attendance;
mod clock;
mod cluster;
mod command;
mod connection;
mod connections;
mod contact;
pub(super) mod doubt;
mod endpoint;
mod failure;
mod key;
mod lean;
mod nodes;
mod patience;
mod record;
mod request;
pub(super) mod roster;
mod run_id;
mod sentinel;
mod server;
mod servers;
mod slots;
mod timeline;

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use async_trait::async_trait;
use deadpool_redis::redis::{Cmd, FromRedisValue, RedisError, cmd};
use thread_local::ThreadLocal;
use tokio::sync::Mutex;
use tracing::{debug, warn};

use self::{
    alarm::Alarm, attendance::Attendance, clock::RedisClock, connection::Connection,
    connections::Link, failure::Failures, patience::Patience, record::Backlog, roster::NodeId,
    servers::Servers,
};
use super::{
    ClientId, Decision, LogEntry, LogTime, Policy, WindowStore, WindowStoreError,
    boot_clock::BootClock, once_a_minute::OnceAMinute,
};
use crate::telemetry::chain;

#[cfg(test)]
pub(super) use self::connection::LOST_AT_ONCE;
pub(super) use self::roster::Generation;
pub use self::{
    clock::ClockStep,
    endpoint::{InvalidRedisUrl, RedisEndpoint},
    key::{InvalidKeyPrefix, KeyPrefix},
    run_id::ServerRun,
    server::Server,
};

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
/// All requests of a thread to one server use one multiplexed connection. The store replaces a connection that is lost,
/// but it does not find a server that is away: the limiter's background work does.
pub struct RedisStore {
    servers: Servers,
    failures: Failures,
    keys: KeyPrefix,
    boot: BootClock,
    clock: RedisClock,
    attendance: StdMutex<Attendance>,
    /// Held by the one request that measures the clock because the last measurement is too old.
    measuring: Mutex<()>,
    bad_mark: OnceAMinute,
    expiring_key: OnceAMinute,
    new_member: fn() -> i32,
    timeout: Duration,
    /// One for each thread.
    alarms: ThreadLocal<Alarm>,
}

impl RedisStore {
    /// A store that is not connected yet: call [`reconnect`](Self::reconnect).
    ///
    /// # Errors
    /// [`WindowStoreError::Connect`] if the client library cannot use the endpoint.
    pub fn new(options: &RedisOptions) -> Result<Self, WindowStoreError> {
        let failures = Failures::new(&options.endpoint, &options.prefix);
        let (timeout, boot) = (options.timeout, BootClock::new());
        Ok(Self {
            servers: Servers::new(&options.endpoint, &failures, timeout, boot)?,
            failures,
            keys: options.prefix.clone(),
            attendance: StdMutex::new(Attendance::new(NodeId::random())),
            boot,
            clock: RedisClock::new(boot),
            measuring: Mutex::default(),
            bad_mark: OnceAMinute::default(),
            expiring_key: OnceAMinute::default(),
            new_member: rand::random,
            timeout,
            alarms: ThreadLocal::new(),
        })
    }

    /// Takes members from `new_member` instead of the random generator, so that a test can make them collide.
    #[must_use]
    pub fn with_members(mut self, new_member: fn() -> i32) -> Self {
        self.new_member = new_member;
        self
    }

    /// An entry for a request that arrives at `at`. Its member is chosen once, however often the request is sent.
    pub(super) fn new_entry(&self, at: LogTime) -> LogEntry {
        LogEntry {
            at,
            member: (self.new_member)(),
        }
    }

    /// The present log time, or `None` if Redis's clock has to be [measured](Self::measured_now) first.
    pub(super) fn fresh_now(&self) -> Option<LogTime> {
        self.clock.fresh_now()
    }

    /// Measures Redis's clock unless another request has just done so, and returns the log time after that.
    ///
    /// # Errors
    /// [`WindowStoreError`] if Redis does not answer within the timeout.
    pub(super) async fn measured_now(&self) -> Result<LogTime, WindowStoreError> {
        let measured = async {
            let _turn = self.measuring.lock().await;
            if self.clock.fresh_now().is_none() {
                self.measure_clock_in_common().await?;
            }
            Ok(self.clock.now())
        };
        let measured = self.patience().wait(measured).await;
        measured.unwrap_or(Err(WindowStoreError::Timeout(self.timeout)))
    }

    /// That of a request that begins now.
    fn patience(&self) -> Patience<'_> {
        Patience::new(self.timeout, self.alarms.get_or_default())
    }

    /// The last step of Redis's clock that was noticed since the last call, if any was.
    pub fn take_clock_step(&self) -> Option<ClockStep> {
        self.clock.take_step()
    }

    /// The boot clock's time, for a node that has never reached Redis.
    pub(super) fn boot_now(&self) -> LogTime {
        LogTime::from_micros(self.boot.micros())
    }

    /// Log time less this machine's boot clock, µs.
    pub(super) fn log_offset(&self) -> i64 {
        self.clock.log_offset()
    }

    /// How many connections are open, to all servers.
    pub fn open_connections(&self) -> usize {
        let servers = self.servers.all();
        let open = servers.iter().map(|server| server.connections().open());
        open.sum()
    }

    /// How many seconds this machine's wall clock is ahead of Redis's. Decisions do not depend on it; operators may
    /// want to know.
    pub fn wall_clock_ahead_seconds(&self) -> f64 {
        self.clock.wall_clock_ahead_seconds()
    }

    /// Undoes the `EXPIRE` on a key that is not Shunt's, so that Redis does not delete the key when a window is over.
    async fn leave_alone(&self, key: &str) {
        let mut persist = cmd("PERSIST");
        persist.arg(key);
        if let Err(error) = self.query::<i64>(&persist, key, None).await
            && self.expiring_key.is_due()
        {
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
        let key = self.keys.log(policy, client);
        let backlog = &Backlog {
            key: &key,
            quota: policy.quota,
            entries,
            now,
        };
        let mut route = self.servers.route(&key);
        let added = loop {
            let (server, is_asking) = (route.server(), route.is_asking());
            let add = |link: Arc<Link>| async move {
                let added = link.connection.run(backlog, is_asking);
                self.within(server, added, backlog.key).await
            };
            match self.in_common(server, add).await {
                Ok(()) => break Ok(()),
                Err(error) => match route.redirect(error).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
            }
        };
        if let Err(WindowStoreError::Key { .. }) = &added {
            self.leave_alone(&key).await;
        }
        added
    }

    /// The answer to a command about `key`. If the server that has the key is that of `at`, asks on the connection of
    /// `at`, otherwise on a common one.
    async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        key: &str,
        at: Option<(&Arc<Server>, &Connection)>,
    ) -> Result<T, WindowStoreError> {
        let mut route = self.servers.route(key);
        loop {
            let (server, is_asking) = (route.server(), route.is_asking());
            let answer = match at {
                Some((other, connection)) if Arc::ptr_eq(other, server) => {
                    self.within(server, connection.query(command, is_asking), key)
                        .await
                }
                _ => {
                    let ask = |link: Arc<Link>| async move {
                        let answer = link.connection.query(command, is_asking);
                        self.within(server, answer, key).await
                    };
                    self.in_common(server, ask).await
                }
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => route.redirect(error).await?,
            }
        }
    }

    /// Does something on the common connection to a server, and once more on the one that takes its place if it is lost.
    async fn in_common<T, W>(
        &self,
        server: &Server,
        work: impl Fn(Arc<Link>) -> W,
    ) -> Result<T, WindowStoreError>
    where
        W: Future<Output = Result<T, WindowStoreError>>,
    {
        let mut done = Err(WindowStoreError::Disconnected);
        for _ in 0..2 {
            let link = server.connections().common().await?;
            let sent = self.boot.micros();
            done = work(link.clone()).await;
            match &done {
                Err(error @ WindowStoreError::Lost(_)) => {
                    debug!(error = chain(error), "the common connection is lost");
                    link.lose();
                }
                Err(WindowStoreError::Timeout(_)) => {
                    link.unanswered(sent, self.boot.micros());
                    return done;
                }
                _ => {
                    link.answered(self.boot.micros());
                    return done;
                }
            }
        }
        done
    }

    /// The answer of a server to commands about `key`, if it comes in time.
    async fn within<T>(
        &self,
        server: &Server,
        answer: impl Future<Output = Result<T, RedisError>>,
        key: &str,
    ) -> Result<T, WindowStoreError> {
        let answer = self.patience().wait(answer).await;
        let answer = answer.ok_or(WindowStoreError::Timeout(self.timeout))?;
        let answer = answer.map_err(|error| self.failures.sort(error, key));
        if !matches!(answer, Err(WindowStoreError::Lost(_))) {
            server.answered();
        }
        answer
    }
}

/// An error about one key is none about Redis.
fn unless_key(tried: Result<(), WindowStoreError>) -> Result<(), WindowStoreError> {
    match tried {
        Err(WindowStoreError::Key { .. }) => Ok(()),
        tried => tried,
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
        let entry = self.new_entry(at);
        let (decision, _) = self.record_after(&[], policy, client, entry).await?;
        Ok(decision)
    }
}
