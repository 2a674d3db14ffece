//! Connections to one server, which may be the master of a Sentinel group or one of a cluster's.
//!
//! `deadpool-redis` is the crate behind this: it brings the client library with TLS in versions and features that fit
//! together. Its pools are for callers that take a connection out and give it back, and each time they do, a `PING`
//! proves that it still works. Here, commands of all requests of a thread travel over one multiplexed connection, which
//! is never given back, so connections come from the library's client directly.
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
    endpoint::SentinelGroup,
    failure::Failures,
    record::{Logged, Record, Surplus},
    run_id::RunId,
    sentinel::{Master, Sentinels, check_role},
};
use crate::limiter::WindowStoreError;

/// How long connecting may take in the background, where it may take longer than a request waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many new connections may be lost before anything is answered on them. An operator or a proxy that ends
/// connections may end one that is just being made.
const LOST_AT_ONCE: usize = 2;

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
    client: Client,
    /// Whether the server is of no use any more if it is not a master.
    is_master: bool,
}

/// A handle to a connection: commands of all its clones travel over one socket.
#[derive(Clone)]
pub(super) enum Connection {
    Multiplexed(MultiplexedConnection),
    /// To the master of a Sentinel group, which may be deposed.
    Master(MultiplexedConnection),
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
        let client = Client::open(server)?;
        Ok(Self { client, is_master })
    }

    /// A new connection on which Redis has answered. Without a password the library sends nothing by itself. Without a
    /// question, a server that has too many connections, or a proxy that leads nowhere, would be noticed only by the
    /// first request.
    async fn connect(&self) -> RedisResult<NewConnection> {
        // Requests bound their own wait. A second timer for each would only cost time.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = connection.await?;
        let connection = if self.is_master {
            Connection::Master(connection)
        } else {
            Connection::Multiplexed(connection)
        };
        let run = connection.greet().await?;
        Ok(NewConnection { connection, run })
    }
}

impl Connection {
    /// Logs a request, in a transaction of its own; `None` if its member is taken. `is_asking` tells a server that does
    /// not own the slot of the key yet that this is no mistake.
    pub(super) async fn record(
        &self,
        record: &Record<'_>,
        is_asking: bool,
    ) -> RedisResult<Option<Logged>> {
        let add_to = |pipeline: &mut Pipeline| record.add_to(pipeline);
        let replies = self.transaction(record.commands(), add_to, is_asking);
        record.logged(&replies.await?)
    }

    /// Shortens a log that has become too long.
    pub(super) async fn shorten(
        &self,
        surplus: &Surplus<'_>,
        is_asking: bool,
    ) -> RedisResult<Logged> {
        let add_to = |pipeline: &mut Pipeline| surplus.add_to(pipeline);
        let replies = self.transaction(Surplus::COMMANDS, add_to, is_asking);
        surplus.logged(&replies.await?)
    }

    /// Runs commands in a transaction, and ignores replies that are no errors.
    pub(super) async fn execute<const N: usize>(
        &self,
        commands: [Cmd; N],
        is_asking: bool,
    ) -> RedisResult<()> {
        let add_to = |pipeline: &mut Pipeline| {
            for command in commands {
                pipeline.add_command(command);
            }
        };
        for reply in self.transaction(N, add_to, is_asking).await? {
            reply.extract_error()?;
        }
        Ok(())
    }

    /// Runs a command with a key.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        is_asking: bool,
    ) -> RedisResult<T> {
        let mut connection = self.multiplexed();
        let answer = if is_asking {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("ASKING").add_command(command.clone());
            let answers = connection.req_packed_commands(&pipeline, 1, 1).await?;
            answers.into_iter().next().unwrap_or(Value::Nil)
        } else {
            connection.req_packed_command(command).await?
        };
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
        let count = pipeline.len();
        let answers = self
            .multiplexed()
            .req_packed_commands(&pipeline, 0, count)
            .await?;
        for answer in answers {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// The replies to the commands of a transaction, one for each. A reply may be an error, which is about one command.
    /// An error instead of the replies is about all commands.
    pub(super) async fn transaction(
        &self,
        commands: usize,
        add_to: impl FnOnce(&mut Pipeline),
        is_asking: bool,
    ) -> RedisResult<Vec<Value>> {
        let mut connection = self.multiplexed();
        if is_asking {
            // In one message: `ASKING` is about what comes next on the connection.
            let mut pipeline = Pipeline::with_capacity(commands + 3);
            pipeline.cmd("ASKING").cmd("MULTI");
            add_to(&mut pipeline);
            pipeline.cmd("EXEC");
            let answers = connection.req_packed_commands(&pipeline, 0, commands + 3);
            let mut answers = answers.await?;
            let executed = answers.pop();
            // If `EXEC` has executed nothing, the first error before it says why.
            for answer in answers {
                answer.extract_error()?;
            }
            return replies(executed, commands);
        }
        let mut pipeline = Pipeline::with_capacity(commands);
        add_to(pipeline.atomic());
        // Skips the replies before that of `EXEC`, which only say that each command is queued.
        let answers = connection.req_packed_commands(&pipeline, commands + 1, 1);
        replies(answers.await?.pop(), commands)
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
        let is_master = matches!(self, Self::Master(_));
        if is_master {
            // In the same round trip.
            pipeline.cmd("ROLE");
        }
        let count = pipeline.len();
        let mut connection = self.multiplexed();
        let mut answers = connection.req_packed_commands(&pipeline, 0, count).await?;
        if is_master {
            check_role(answers.pop().unwrap_or(Value::Nil))?;
        }
        let time = answers.pop().unwrap_or(Value::Nil).extract_error()?;
        let (seconds, micros) = <(i64, i64)>::from_redis_value(time)?;
        Ok(seconds * 1_000_000 + micros)
    }

    fn multiplexed(&self) -> MultiplexedConnection {
        match self {
            Self::Multiplexed(connection) | Self::Master(connection) => connection.clone(),
        }
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
