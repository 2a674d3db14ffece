//! The servers that hold the window logs: one, or those of a cluster.

use std::{ops::Deref, sync::Arc, time::Duration};

use deadpool_redis::redis::RedisError;
use tokio::time::sleep;

use super::{
    cluster::Cluster,
    connection::Connector,
    endpoint::{Kind, RedisEndpoint},
    failure::Failures,
    server::Server,
    slots::{Redirect, slot_of},
};
use crate::limiter::{WindowStoreError, boot_clock::BootClock};

/// How long a request rests when a server tells it to try again, or after it was sent to and fro.
const REST: Duration = Duration::from_millis(5);

/// A request that was sent to and fro more often than this rests in between: the servers of the cluster do not agree
/// yet.
const PATIENT_REDIRECTS: u32 = 3;

/// After so many, the servers are taken to disagree for longer.
const MOST_REDIRECTS: u32 = 1_000;

/// The servers, by the keys that they have.
pub(super) enum Servers {
    One(Arc<Server>),
    Cluster(Box<Cluster>),
}

impl Servers {
    /// Connects to nothing yet. Requests wait for `timeout`.
    ///
    /// # Errors
    /// [`WindowStoreError::Connect`] if the client library cannot use the endpoint.
    pub(super) fn new(
        endpoint: &RedisEndpoint,
        failures: &Failures,
        timeout: Duration,
        boot: BootClock,
    ) -> Result<Self, WindowStoreError> {
        let failures = failures.clone();
        let connector = match &endpoint.0 {
            Kind::Server(server) => Connector::to((**server).clone(), failures)?,
            Kind::Sentinel(group) => Connector::to_master(group.clone(), failures),
            Kind::Cluster(seeds) => {
                let cluster = Cluster::new(seeds.clone(), failures, timeout, boot)?;
                return Ok(Self::Cluster(Box::new(cluster)));
            }
        };
        Ok(Self::One(Arc::new(Server::new(
            None, connector, timeout, boot,
        ))))
    }

    /// All servers that are known.
    pub(super) fn all(&self) -> Vec<Arc<Server>> {
        match self {
            Self::One(server) => vec![server.clone()],
            Self::Cluster(cluster) => cluster.servers(),
        }
    }

    /// The cluster, if it is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// The server that has this key, as far as is known.
    pub(super) fn with(&self, key: &str) -> Held<'_> {
        match self {
            Self::One(server) => Held::Only(server),
            Self::Cluster(cluster) => Held::OfMany(cluster.owner(slot_of(key))),
        }
    }

    /// Like [`with`](Self::with). A single server has every key, so none has to be made to find it.
    pub(super) fn with_key_of(&self, key: impl FnOnce() -> String) -> Held<'_> {
        match self {
            Self::One(server) => Held::Only(server),
            Self::Cluster(cluster) => Held::OfMany(cluster.owner(slot_of(&key()))),
        }
    }

    /// Whether `server` has this key, as far as is known.
    pub(super) fn has(&self, server: &Arc<Server>, key: &str) -> bool {
        Arc::ptr_eq(server, &self.with(key))
    }

    /// Tells all servers how long a round trip without any wait takes, µs.
    pub(super) fn usual_round_trip(&self, micros: i64) {
        match self {
            Self::One(server) => server.usual_round_trip(micros),
            Self::Cluster(cluster) => {
                cluster
                    .servers()
                    .iter()
                    .for_each(|server| server.usual_round_trip(micros));
            }
        }
    }

    /// The server whose clock all nodes of ours use.
    ///
    /// In a cluster, this is the owner of slot 0. While it is away, the owner of the next slot that is there takes its
    /// place. What the clocks of servers differ by is no step, or is [treated as one](super::timeline). Without any
    /// server's clock, those of the nodes would drift apart, and no node could tell whether its machine stood still.
    pub(super) fn with_clock(&self) -> Arc<Server> {
        match self {
            Self::One(server) => server.clone(),
            Self::Cluster(cluster) => {
                let there = cluster.with_clocks().into_iter().next();
                there.unwrap_or_else(|| cluster.owner(0))
            }
        }
    }

    /// The way of a request about `key`.
    pub(super) fn route(&self, key: &str) -> Route<'_> {
        Route {
            servers: self,
            server: self.with(key),
            is_asking: false,
            redirects: 0,
        }
    }
}

/// A server, for as long as it is used. A cluster may have forgotten it meanwhile.
pub(in crate::limiter) enum Held<'a> {
    Only(&'a Arc<Server>),
    OfMany(Arc<Server>),
}

impl Deref for Held<'_> {
    type Target = Arc<Server>;

    fn deref(&self) -> &Arc<Server> {
        match self {
            Self::Only(server) => server,
            Self::OfMany(server) => server,
        }
    }
}

/// The way of one request, which a cluster may change.
pub(super) struct Route<'a> {
    servers: &'a Servers,
    server: Held<'a>,
    is_asking: bool,
    redirects: u32,
}

impl Route<'_> {
    /// Where the request goes next.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Whether the server has to be told that this is no mistake (`ASKING`).
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Looks whether `error` is a server's word that another one has the key. Then the server has executed nothing, and
    /// the request has to be sent again, to [`server`](Self::server). The caller bounds how long.
    ///
    /// # Errors
    /// `error` if it says anything else, or after too many redirects.
    pub(super) async fn redirect(
        &mut self,
        error: WindowStoreError,
    ) -> Result<(), WindowStoreError> {
        let (Servers::Cluster(cluster), WindowStoreError::Failed(answer)) = (self.servers, &error)
        else {
            return Err(error);
        };
        let answer = answer.downcast_ref::<RedisError>();
        let redirect = answer.and_then(|answer| Redirect::of(answer, self.server.host()));
        let Some(redirect) = redirect.filter(|_| self.redirects < MOST_REDIRECTS) else {
            return Err(error);
        };
        self.redirects += 1;
        match redirect {
            Redirect::Moved(slot, address) => {
                self.server = Held::OfMany(cluster.moved(slot, address)?);
                self.is_asking = false;
            }
            Redirect::Ask(address) => {
                self.server = Held::OfMany(cluster.at(address)?);
                self.is_asking = true;
            }
            Redirect::TryAgain => sleep(REST).await,
        }
        if self.redirects > PATIENT_REDIRECTS {
            sleep(REST).await;
        }
        Ok(())
    }
}
