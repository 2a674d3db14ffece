//! Connections to one server, a Sentinel group or a cluster.
//!
//! `deadpool-redis` is the crate behind this: it brings the client library with everything a URL may ask for (one
//! server, Sentinel, cluster, TLS) in versions and features that fit together. Its pools are for callers that take a
//! connection out and give it back, and each time they do, a `PING` proves that it still works. Here, commands of all
//! requests of a thread travel over one multiplexed connection, which is never given back, so connections come from the
//! library's clients directly.

use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    cmd,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::time::timeout;

use super::{
    endpoint::{Kind, RedisEndpoint, SentinelGroup, tcp_settings},
    failure::Failures,
    record::{Record, Recorded},
};
use crate::limiter::WindowStoreError;

/// How long connecting may take in the background, where it may take longer than a request waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// In a cluster all nodes of ours must ask the same server for the time: the owner of this slot.
const CLOCK_SLOT: u16 = 0;

/// Finds out where Redis is, and makes connections.
pub(super) struct Connector {
    redis: Whereabouts,
    failures: Failures,
}

/// How to find Redis.
enum Whereabouts {
    /// The endpoint says where it is.
    Known(Destination),
    /// The Sentinels say where the master is.
    Asked(SentinelGroup),
}

/// Where connections lead: the library's client for one server or one cluster. The master of a Sentinel group is one
/// server.
#[derive(Clone)]
pub(super) enum Destination {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A handle to a connection: commands of all its clones travel over one socket.
#[derive(Clone)]
pub(super) enum Connection {
    Multiplexed(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    /// Connects to nothing yet.
    pub(super) fn new(
        endpoint: &RedisEndpoint,
        failures: Failures,
    ) -> Result<Self, WindowStoreError> {
        let redis = Whereabouts::new(endpoint);
        let redis = redis.map_err(|error| WindowStoreError::Connect(error.into()))?;
        Ok(Self { redis, failures })
    }

    /// Finds Redis, for which it asks the Sentinels if there are any, and connects to it. Returns the new connection,
    /// on which Redis has answered, and where it leads. The runtime that calls this drives it.
    pub(super) async fn find(&self) -> Result<(Connection, Destination), WindowStoreError> {
        let found = async {
            let destination = self.redis.find().await?;
            Ok((destination.connect().await?, destination))
        };
        let (connection, destination) = self.within(found).await?;
        Ok((self.tried(connection).await?, destination))
    }

    /// A new connection that leads to `destination`, and on which Redis has answered. Asks no Sentinel. The runtime
    /// that calls this drives it.
    pub(super) async fn connect(
        &self,
        destination: &Destination,
    ) -> Result<Connection, WindowStoreError> {
        let connection = self.within(destination.connect()).await?;
        self.tried(connection).await
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

    /// `connection`, once Redis has answered on it. Without a password the library sends nothing by itself. Without
    /// this question, a server that has too many connections, or a proxy that leads nowhere, would be noticed only by
    /// the first request.
    async fn tried(&self, connection: Connection) -> Result<Connection, WindowStoreError> {
        match timeout(CONNECT_TIMEOUT, connection.time()).await {
            Ok(Ok(_)) => Ok(connection),
            Ok(Err(error)) => Err(self.failures.sort_connect(error)),
            Err(_) => Err(WindowStoreError::Timeout(CONNECT_TIMEOUT)),
        }
    }
}

impl Whereabouts {
    fn new(endpoint: &RedisEndpoint) -> RedisResult<Self> {
        Ok(match &endpoint.0 {
            Kind::Server(server) => {
                let client = Client::open((**server).clone())?;
                Self::Known(Destination::Server(Box::new(client)))
            }
            Kind::Sentinel(group) => Self::Asked(group.clone()),
            Kind::Cluster(servers) => {
                let client = ClusterClient::new(servers.clone())?;
                Self::Known(Destination::Cluster(Box::new(client)))
            }
        })
    }

    async fn find(&self) -> RedisResult<Destination> {
        match self {
            Self::Known(destination) => Ok(destination.clone()),
            Self::Asked(group) => {
                let server = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(group.settings.clone())
                    .set_tcp_settings(tcp_settings());
                // This client keeps its connections to the Sentinels open until it is dropped. They are not needed
                // until the next failure, so there is a new client each time.
                let mut client = SentinelClient::build(
                    group.sentinels.clone(),
                    &group.master,
                    Some(server),
                    SentinelServerType::Master,
                )?;
                let master = client.async_get_client().await?;
                Ok(Destination::Server(Box::new(master)))
            }
        }
    }
}

impl Destination {
    async fn connect(&self) -> RedisResult<Connection> {
        // Requests bound their own wait. A second timer for each would only cost time.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        Ok(match self {
            Self::Server(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Connection::Multiplexed(connection.await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

impl Connection {
    /// Logs a request and decides it, in a transaction of its own; `None` if its member is taken.
    pub(super) async fn record(&self, record: &Record<'_>) -> RedisResult<Option<Recorded>> {
        let mut pipeline = Pipeline::with_capacity(record.commands());
        record.add_to(pipeline.atomic());
        record.decision(&self.transaction(&pipeline).await?)
    }

    /// Runs commands in a transaction, and ignores replies that are no errors.
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

    /// Checks that the server owns all of `keys`, whether they exist or not. A cluster as a whole does.
    ///
    /// # Errors
    /// What the server says of the first key that belongs to another one.
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

/// The replies to the commands of an atomic pipeline, one for each. A reply may be an error, which is about one
/// command. An error instead of the replies is about all commands.
async fn transaction(
    connection: &mut impl ConnectionLike,
    pipeline: &Pipeline,
) -> RedisResult<Vec<Value>> {
    let commands = pipeline.len();
    // Skips the replies before that of `EXEC`, which only say that each command is queued.
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
