//! One connection, whatever kind of Redis it leads to, and the pool it is checked out of.

use std::time::Duration;

use deadpool_redis::{
    Runtime, Timeouts, cluster,
    redis::{
        AsyncConnectionConfig, FromRedisValue, Pipeline, RedisError, RedisResult,
        aio::{ConnectionLike, MultiplexedConnection},
        cluster_async::ClusterConnection,
        cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
        cmd,
    },
    sentinel,
};

use super::endpoint::{Kind, RedisEndpoint};
use crate::limiter::StoreError;

/// How long making a connection may take. It happens in the background, so this may be longer than
/// what a request waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// In a cluster every node of ours must ask the same server for the time: the owner of this slot.
const CLOCK_SLOT: u16 = 0;

/// The answers that a decision needs: how many entries were added (0 if the member is taken), how many the log holds, and
/// the oldest two with their scores.
type Recorded = (u64, u64, Vec<(i64, f64)>);

pub(super) enum ConnectionPool {
    Server(deadpool_redis::Pool),
    Sentinel(sentinel::Pool),
    Cluster(cluster::Pool),
}

pub(super) struct PoolUsage {
    pub(super) in_use: usize,
    pub(super) idle: usize,
    pub(super) max: usize,
}

/// A connection that is checked out; dropping it hands it back to the pool.
pub(super) enum Connection {
    Server(deadpool_redis::Connection),
    Sentinel(sentinel::Connection),
    Cluster(cluster::Connection),
}

impl ConnectionPool {
    pub(super) fn new(endpoint: &RedisEndpoint, timeout: Duration) -> Result<Self, StoreError> {
        // One connection: it is multiplexed, and a second could only be an old one left to die.
        const SIZE: usize = 1;
        let timeouts = Timeouts {
            wait: Some(CONNECT_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(timeout),
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
                // Requests bound their own wait; this only keeps a dead connection from being kept.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(CONNECT_TIMEOUT));
                let manager = deadpool_redis::Manager::new_with_config(*server, config);
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

    pub(super) async fn get(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Server(pool) => Connection::Server(pool.get().await.map_err(connect_error)?),
            Self::Sentinel(pool) => Connection::Sentinel(pool.get().await.map_err(connect_error)?),
            Self::Cluster(pool) => Connection::Cluster(pool.get().await.map_err(connect_error)?),
        })
    }

    pub(super) fn usage(&self) -> PoolUsage {
        let status = match self {
            Self::Server(pool) => pool.status(),
            Self::Sentinel(pool) => pool.status(),
            Self::Cluster(pool) => pool.status(),
        };
        PoolUsage {
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            max: status.max_size,
        }
    }
}

fn connect_error(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Connect(Box::new(error))
}

/// A handle to the shared connection: commands of all its clones travel over one socket.
enum Handle {
    Multiplexed(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    fn handle(&self) -> Handle {
        match self {
            Self::Server(connection) => {
                Handle::Multiplexed(MultiplexedConnection::clone(connection))
            }
            Self::Sentinel(connection) => {
                Handle::Multiplexed(MultiplexedConnection::clone(connection))
            }
            Self::Cluster(connection) => Handle::Cluster(ClusterConnection::clone(connection)),
        }
    }

    pub(super) async fn execute(&self, pipeline: &Pipeline) -> Result<Recorded, RedisError> {
        match self.handle() {
            Handle::Multiplexed(mut connection) => pipeline.query_async(&mut connection).await,
            Handle::Cluster(mut connection) => pipeline.query_async(&mut connection).await,
        }
    }

    /// Redis's clock, in microseconds since the Unix epoch.
    pub(super) async fn time(&self) -> Result<i64, RedisError> {
        let time = cmd("TIME");
        let answer = match self.handle() {
            Handle::Multiplexed(mut connection) => connection.req_packed_command(&time).await,
            Handle::Cluster(mut connection) => {
                let owner = Route::new(CLOCK_SLOT, SlotAddr::Master);
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(owner));
                connection.route_command(time, route).await
            }
        };
        let (seconds, micros): (i64, i64) = parse(answer)?;
        Ok(seconds * 1_000_000 + micros)
    }
}

fn parse<T: FromRedisValue>(answer: RedisResult<deadpool_redis::redis::Value>) -> RedisResult<T> {
    Ok(T::from_redis_value(answer?)?)
}
