//! Connections, whatever kind of Redis they lead to.

use std::time::Duration;

use deadpool_redis::{
    PoolError, Runtime, Timeouts, cluster,
    redis::{
        AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult, Value,
        aio::{ConnectionLike, MultiplexedConnection},
        cluster_async::ClusterConnection,
        cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
        cmd,
    },
    sentinel,
};
use tokio::time::timeout;

use super::{
    endpoint::{Kind, RedisEndpoint},
    failure::Failures,
    record::{Record, Recorded},
};
use crate::limiter::WindowStoreError;

/// How long making a connection may take in the background, where that may be longer than what a request waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// In a cluster every node of ours must ask the same server for the time: the owner of this slot.
const CLOCK_SLOT: u16 = 0;

/// Makes connections.
///
/// The pools are never given one back. They stand for the three kinds of Redis, and bound how long connecting takes.
pub(super) struct Connector {
    pool: Pool,
    failures: Failures,
}

enum Pool {
    Server(deadpool_redis::Pool),
    Sentinel(sentinel::Pool),
    Cluster(cluster::Pool),
}

/// A handle to a connection: commands of all its clones travel over one socket.
#[derive(Clone)]
pub(super) enum Connection {
    Multiplexed(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    pub(super) fn new(
        endpoint: &RedisEndpoint,
        failures: Failures,
    ) -> Result<Self, WindowStoreError> {
        let pool = Pool::new(endpoint)?;
        Ok(Self { pool, failures })
    }

    /// A new connection, which lives in the runtime that this is called in, and on which Redis has answered.
    pub(super) async fn connect(&self) -> Result<Connection, WindowStoreError> {
        let sort = |error| self.failures.sort_connect(error);
        let connection = self.pool.connect().await.map_err(sort)?;
        // Without a password the library sends nothing by itself, and if the server has too many connections, or a proxy
        // leads nowhere, the first request would fail for it.
        match timeout(CONNECT_TIMEOUT, connection.time()).await {
            Ok(Ok(_)) => Ok(connection),
            Ok(Err(error)) => Err(sort(error.into())),
            Err(_) => Err(WindowStoreError::Timeout(CONNECT_TIMEOUT)),
        }
    }
}

impl Pool {
    fn new(endpoint: &RedisEndpoint) -> Result<Self, WindowStoreError> {
        // So many connections can be made at once.
        const SIZE: usize = 16;
        let timeouts = Timeouts {
            wait: Some(CONNECT_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: None,
        };
        macro_rules! pool {
            ($kind:ident, $pool:ty, $manager:expr) => {
                <$pool>::builder($manager.map_err(connect_error)?)
                    .max_size(SIZE)
                    .timeouts(timeouts)
                    .runtime(Runtime::Tokio1)
                    .build()
                    .map(Self::$kind)
                    .map_err(connect_error)
            };
        }
        match endpoint.0.clone() {
            Kind::Server(server) => {
                // Requests bound their own wait, and a second timer for each would do no good.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None);
                // A user need not be allowed to say which library it uses.
                let settings = server.redis_settings().clone().set_skip_set_lib_name();
                let server = server.set_redis_settings(settings);
                let manager = deadpool_redis::Manager::new_with_config(server, config);
                pool!(Server, deadpool_redis::Pool, manager)
            }
            Kind::Sentinel {
                sentinels,
                master,
                user,
                password,
                db,
            } => {
                let node = sentinel::SentinelNodeConnectionInfo {
                    tls_mode: None,
                    redis_connection_info: Some(deadpool_redis::RedisConnectionInfo {
                        db,
                        username: user,
                        password,
                        ..Default::default()
                    }),
                };
                let manager = sentinel::Manager::new(
                    sentinels,
                    master,
                    Some(node),
                    sentinel::SentinelServerType::Master,
                );
                pool!(Sentinel, sentinel::Pool, manager)
            }
            Kind::Cluster(servers) => {
                pool!(
                    Cluster,
                    cluster::Pool,
                    cluster::Manager::new(servers, false)
                )
            }
        }
    }

    async fn connect(&self) -> Result<Connection, PoolError> {
        Ok(match self {
            Self::Server(pool) => {
                let connection = pool.get().await?;
                Connection::Multiplexed(deadpool_redis::Connection::take(connection))
            }
            Self::Sentinel(pool) => {
                let connection = pool.get().await?;
                Connection::Multiplexed(sentinel::Connection::take(connection))
            }
            Self::Cluster(pool) => {
                let connection = pool.get().await?;
                Connection::Cluster(cluster::Connection::take(connection))
            }
        })
    }
}

fn connect_error(error: impl std::error::Error + Send + Sync + 'static) -> WindowStoreError {
    WindowStoreError::Connect(Box::new(error))
}

impl Connection {
    /// Logs a request and decides it, in a transaction of its own; `None` if its member is taken.
    pub(super) async fn record(&self, record: &Record<'_>) -> RedisResult<Option<Recorded>> {
        let mut pipeline = Pipeline::with_capacity(record.commands());
        record.add_to(pipeline.atomic());
        record.decision(&self.transaction(&pipeline).await?)
    }

    /// Runs commands whose replies say nothing, in a transaction.
    pub(super) async fn execute(&self, pipeline: &Pipeline) -> RedisResult<()> {
        for reply in self.transaction(pipeline).await? {
            reply.extract_error()?;
        }
        Ok(())
    }

    /// Runs a command with a key.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let answer = match self.clone() {
            Self::Multiplexed(mut connection) => connection.req_packed_command(command).await,
            Self::Cluster(mut connection) => connection.req_packed_command(command).await,
        };
        Ok(T::from_redis_value(answer?.extract_error()?)?)
    }

    /// Whether the server has all of `keys`, which exist or not; a cluster as a whole has every one.
    ///
    /// # Errors
    /// What it says of the first that it has not.
    pub(super) async fn serves(&self, keys: impl Iterator<Item = String>) -> RedisResult<()> {
        let Self::Multiplexed(mut connection) = self.clone() else {
            return Ok(());
        };
        let mut pipeline = Pipeline::new();
        for key in keys {
            pipeline.cmd("ZCARD").arg(key);
        }
        let count = pipeline.len();
        let answers = connection.req_packed_commands(&pipeline, 0, count).await?;
        for answer in answers {
            answer.extract_error()?;
        }
        Ok(())
    }

    async fn transaction(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        match self.clone() {
            Self::Multiplexed(mut connection) => transaction(&mut connection, pipeline).await,
            Self::Cluster(mut connection) => transaction(&mut connection, pipeline).await,
        }
    }

    /// Redis's clock, in microseconds since the Unix epoch.
    pub(super) async fn time(&self) -> RedisResult<i64> {
        let time = cmd("TIME");
        let answer = match self.clone() {
            Self::Multiplexed(mut connection) => connection.req_packed_command(&time).await,
            Self::Cluster(mut connection) => {
                let owner = Route::new(CLOCK_SLOT, SlotAddr::Master);
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(owner));
                connection.route_command(time, route).await
            }
        };
        let (seconds, micros) = <(i64, i64)>::from_redis_value(answer?.extract_error()?)?;
        Ok(seconds * 1_000_000 + micros)
    }
}

/// The replies to the commands of an atomic pipeline, one each. Among them may be errors, each of which is about one command;
/// an error instead of them is about all.
async fn transaction(
    connection: &mut impl ConnectionLike,
    pipeline: &Pipeline,
) -> RedisResult<Vec<Value>> {
    let commands = pipeline.len();
    // Nothing of what Redis says before `EXEC`, which is that it has queued each.
    let mut answers = connection
        .req_packed_commands(pipeline, commands + 1, 1)
        .await?;
    match answers.pop() {
        Some(Value::Array(replies)) if replies.len() == commands => Ok(replies),
        Some(Value::ServerError(error)) => Err(error.into()),
        _ => Err((
            ErrorKind::UnexpectedReturnType,
            "not one reply for each command",
        )
            .into()),
    }
}
