//! Connections to one server, which may be the master of a Sentinel group or one of a cluster's.
//!
//! `deadpool-redis` is the crate behind this: it brings the client library with TLS in versions and features that fit
//! together. Its pools are for callers that take a connection out and give it back, and each time they do, a `PING`
//! proves that it still works. Here, commands of all requests of a thread travel over one multiplexed connection, which
//! is never given back, so connections come from the library's client directly. Those over plain TCP, in RESP2, are not
//! the library's but [lean](super::lean).
//!
//! The library's clients for Sentinel and for a cluster are not used. The first cannot tell that the Sentinels name
//! another master while the old one still answers ([`sentinel`](super::sentinel) can). The second does not follow a
//! slot that moves if the request is a transaction, and while it looks for one server, requests to all others wait
//! ([`cluster`](super::cluster) has one client for each server).

use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};
use futures_util::future::join;
use tokio::time::timeout;

use super::{
    command::Transaction,
    endpoint::SentinelGroup,
    failure::Failures,
    lean::{Lean, lean_address},
    run_id::RunId,
    sentinel::{Master, Sentinels, check_role},
};
use crate::limiter::WindowStoreError;

/// How long connecting may take in the background, where it may take longer than a request waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many new connections may be lost before anything is answered on them. An operator or a proxy that ends
/// connections may end one that is just being made.
pub(in crate::limiter) const LOST_AT_ONCE: usize = 2;

/// Finds out where a server is, and makes connections to it.
pub(super) struct Connector {
    redis: Whereabouts,
    failures: Failures,
}

/// How to find a server.
enum Whereabouts {
    /// Its address is known.
    Known(Box<Destination>),
    /// The Sentinels name the master.
    Named(Box<Sentinels>),
}

/// Where connections lead.
#[derive(Clone)]
pub(super) struct Destination {
    way: Way,
    /// Whether the server is of no use any more if it is not a master.
    is_master: bool,
}

/// Who makes connections there.
#[derive(Clone)]
enum Way {
    Lean(Box<ConnectionInfo>),
    Library(Box<Client>),
}

/// A handle to a connection: commands of all its clones travel over one socket.
#[derive(Clone)]
pub(super) struct Connection {
    line: Line,
    /// Whether it leads to the master of a Sentinel group, which may be deposed.
    is_master: bool,
}

#[derive(Clone)]
enum Line {
    Lean(Lean),
    Library(MultiplexedConnection),
}

/// A connection on which Redis has answered.
pub(super) struct NewConnection {
    pub(super) connection: Connection,
    /// The server process at its other end, if it says.
    pub(super) run: Option<RunId>,
}

impl Connector {
    /// Will connect to this server.
    ///
    /// # Errors
    /// [`WindowStoreError::Connect`] if the client library cannot use the address.
    pub(super) fn to(server: ConnectionInfo, failures: Failures) -> Result<Self, WindowStoreError> {
        let destination = Destination::new(server, false);
        let destination = destination.map_err(|error| WindowStoreError::Connect(error.into()))?;
        let redis = Whereabouts::Known(Box::new(destination));
        Ok(Self { redis, failures })
    }

    /// Will connect to the master of this group.
    pub(super) fn to_master(group: SentinelGroup, failures: Failures) -> Self {
        let redis = Whereabouts::Named(Box::new(Sentinels::new(group)));
        Self { redis, failures }
    }

    /// Finds the server, for which it asks the Sentinels if there are any, and connects to it. Returns the new
    /// connection, on which the server has answered, and where it leads. The runtime that calls this drives it.
    pub(super) async fn find(&self) -> Result<(NewConnection, Destination), WindowStoreError> {
        let sentinels = match &self.redis {
            Whereabouts::Known(destination) => {
                let connection = self.connect(destination).await?;
                return Ok((connection, (**destination).clone()));
            }
            Whereabouts::Named(sentinels) => sentinels,
        };
        let named = async {
            let master = sentinels.find().await?;
            let destination = Destination::new(sentinels.connection_to(&master), true)?;
            Ok((master, destination))
        };
        let (master, destination) = self.within(named).await?;
        let connection = self.connect(&destination).await?;
        sentinels.follow(master);
        Ok((connection, destination))
    }

    /// Waits until the Sentinels name another master than the one that was found last. Without Sentinels, this never
    /// happens.
    pub(super) async fn another_is_named(&self) -> Master {
        match &self.redis {
            Whereabouts::Known(_) => std::future::pending().await,
            Whereabouts::Named(sentinels) => sentinels.another_is_named().await,
        }
    }

    /// A new connection that leads to `destination`, and on which Redis has answered. Asks no Sentinel. The runtime
    /// that calls this drives it.
    pub(super) async fn connect(
        &self,
        destination: &Destination,
    ) -> Result<NewConnection, WindowStoreError> {
        let connected = async {
            let mut lost = 0;
            loop {
                match destination.connect().await {
                    Err(error) if has_ended(&error) && lost < LOST_AT_ONCE => lost += 1,
                    connected => return connected,
                }
            }
        };
        self.within(connected).await
    }

    /// What `connecting` returns, if it takes no longer than it may.
    async fn within<T>(
        &self,
        connecting: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, WindowStoreError> {
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.failures.sort_connect(error)),
            Err(elapsed) => Err(WindowStoreError::Connect(elapsed.into())),
        }
    }
}

/// Whether a connection was made, and has ended before anything was answered.
fn has_ended(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

impl Destination {
    fn new(server: ConnectionInfo, is_master: bool) -> RedisResult<Self> {
        let way = if lean_address(&server).is_some() {
            Way::Lean(Box::new(server))
        } else {
            Way::Library(Box::new(Client::open(server)?))
        };
        Ok(Self { way, is_master })
    }

    /// A new connection on which Redis has answered. Without a password nothing is sent to connect. Without a question,
    /// a server that has too many connections, or a proxy that leads nowhere, would be noticed only by the first request.
    async fn connect(&self) -> RedisResult<NewConnection> {
        let line = match &self.way {
            Way::Lean(server) => Line::Lean(Lean::connect(server).await?),
            Way::Library(client) => {
                // Requests bound their own wait. A second timer for each would only cost time.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Line::Library(connection.await?)
            }
        };
        let connection = Connection {
            line,
            is_master: self.is_master,
        };
        let run = connection.greet().await?;
        Ok(NewConnection { connection, run })
    }
}

impl Connection {
    /// Runs a transaction. `is_asking` tells a server that does not own the slot of the key yet that this is no mistake.
    ///
    /// # Errors
    /// As [`Transaction::read`]; why Redis did not run it; why the connection has ended.
    pub(super) async fn run<T: Transaction>(
        &self,
        transaction: &T,
        is_asking: bool,
    ) -> RedisResult<T::Answer> {
        if let Line::Lean(connection) = &self.line {
            return connection.run(transaction, is_asking).await;
        }
        let ask = |pipeline: &mut Pipeline| transaction.ask(pipeline);
        let replies = self.transaction(ask, is_asking).await?;
        transaction.read(&mut replies.into_iter())
    }

    /// Runs a command with a key.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        is_asking: bool,
    ) -> RedisResult<T> {
        let mut pipeline = Pipeline::with_capacity(2);
        if is_asking {
            pipeline.cmd("ASKING");
        }
        let before = pipeline.len();
        pipeline.add_command(command.clone());
        let answers = self.values(&pipeline, before, 1).await?;
        let answer = answers.into_iter().next().unwrap_or(Value::Nil);
        Ok(T::from_redis_value(answer.extract_error()?)?)
    }

    /// Checks that the server owns all of `keys`, whether they exist or not.
    ///
    /// # Errors
    /// What the server says of the first key that belongs to another one.
    pub(super) async fn serves(&self, keys: impl Iterator<Item = String>) -> RedisResult<()> {
        let mut pipeline = Pipeline::new();
        for key in keys {
            pipeline.cmd("ZCARD").arg(key);
        }
        for answer in self.values(&pipeline, 0, pipeline.len()).await? {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// The replies to the commands of a transaction, one for each. A reply may be an error, which is about one command.
    /// An error instead of the replies is about all commands.
    pub(super) async fn transaction(
        &self,
        add_to: impl FnOnce(&mut Pipeline),
        is_asking: bool,
    ) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        if is_asking {
            // In one message: `ASKING` is about what comes next on the connection.
            pipeline.cmd("ASKING");
        }
        pipeline.cmd("MULTI");
        let before = pipeline.len();
        add_to(&mut pipeline);
        let queued = pipeline.len();
        pipeline.cmd("EXEC");
        // Skips the replies before that of `EXEC`, which only say that each command is queued. If `EXEC` has executed
        // nothing, the first error among them says why.
        let mut answers = self.values(&pipeline, queued, 1).await?;
        replies(answers.pop(), queued - before)
    }

    /// Sends commands, and returns `count` replies after the first `skipped`. Any of them may be an error.
    ///
    /// # Errors
    /// The first error among the replies that are skipped; why the connection has ended.
    async fn values(
        &self,
        commands: &Pipeline,
        skipped: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        match &self.line {
            Line::Lean(connection) => connection.values(commands, skipped, count).await,
            Line::Library(connection) => {
                let mut connection = connection.clone();
                connection
                    .req_packed_commands(commands, skipped, count)
                    .await
            }
        }
    }

    /// Waits until the server answers, and asks it for its run id. A user that may not use `INFO` is not told, which is
    /// no error.
    ///
    /// # Errors
    /// Also if the server has to be a master and is none.
    async fn greet(&self) -> RedisResult<Option<RunId>> {
        let mut ask = cmd("INFO");
        ask.arg("server");
        let (time, info) = join(self.time(), self.query::<String>(&ask, false)).await;
        time?;
        Ok(info.ok().and_then(|info| RunId::in_info(&info)))
    }

    /// The server's clock, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// Also if the server has to be a master and is none.
    pub(super) async fn time(&self) -> RedisResult<i64> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("TIME");
        if self.is_master {
            // In the same round trip.
            pipeline.cmd("ROLE");
        }
        let mut answers = self.values(&pipeline, 0, pipeline.len()).await?;
        if self.is_master {
            check_role(answers.pop().unwrap_or(Value::Nil))?;
        }
        let time = answers.pop().unwrap_or(Value::Nil).extract_error()?;
        let (seconds, micros) = <(i64, i64)>::from_redis_value(time)?;
        Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }
}

/// What `EXEC` answered.
fn replies(executed: Option<Value>, commands: usize) -> RedisResult<Vec<Value>> {
    match executed {
        Some(Value::Array(replies)) if replies.len() == commands => Ok(replies),
        Some(Value::ServerError(error)) => Err(error.into()),
        _ => Err(not_one_reply_each()),
    }
}

fn not_one_reply_each() -> RedisError {
    let kind = ErrorKind::UnexpectedReturnType;
    (kind, "not one reply for each command").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::redis::endpoint::{Kind, RedisEndpoint};

    /// A server that the URL names, or that is found out later.
    fn server(url: &str) -> ConnectionInfo {
        let endpoint: RedisEndpoint = url.parse().expect("a URL");
        match endpoint.0 {
            Kind::Server(server) => *server,
            Kind::Sentinel(group) => group.access.at("10.0.0.1", 6379),
            Kind::Cluster(seeds) => seeds.access.at("10.0.0.1", 6379),
        }
    }

    #[test]
    fn what_is_plain_tcp_is_lean_and_all_else_is_the_librarys() {
        for (url, is_lean) in [
            ("redis://localhost", true),
            ("redis://:secret@[::1]:7000/2", true),
            ("redis+sentinel://a:26379/mymaster", true),
            ("redis+cluster://a:7000", true),
            ("redis+unix:///run/redis.sock", false),
            ("rediss://localhost", false),
            ("rediss+sentinel://a:26379/mymaster", false),
            ("rediss+cluster://a:7000", false),
            ("redis://localhost?protocol=resp3", false),
        ] {
            let destination = Destination::new(server(url), false).expect("a place");
            assert_eq!(matches!(destination.way, Way::Lean(_)), is_lean, "{url}");
        }
    }
}
