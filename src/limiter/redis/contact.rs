//! The background's side of the store: finds servers, connects to them, and asks whether they are there.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{
    RedisStore, agreement::SAMPLES_TO_SETTLE, connection::Connection, connections::Link,
    record::Record, run_id::ServerRun, server::Server, servers::Held, unless_key,
};
use crate::limiter::{ClientId, LogTime, Policy, Quota, WindowStoreError};

/// How often a cluster is asked for its slots. A request to a server that does not own its slot any more notices at
/// once.
const MAP_INTERVAL: Duration = Duration::from_secs(1);

/// How long a server of a cluster may take to tell the time. Requests to others may have to wait for it.
const CLOCK_PATIENCE: Duration = Duration::from_millis(250);

/// How many keys are tried to find one that a server of a cluster has. One that owns a single slot of 16,384 has none of
/// these once in 10^17 times.
const KEYS_TO_FIND: usize = 640_000;

/// How many keys a server is asked for when a node connects to it, to find out whether it is one server of a cluster.
/// One that owns half of the slots has all of these keys once in 10^19 times, one that owns nine of ten once in 800.
const KEYS_TO_TRY: usize = 64;

impl RedisStore {
    /// Finds all servers and connects to each of them. Returns what it returns, for all servers
    /// together.
    ///
    /// # Errors
    /// [`WindowStoreError`] if a server cannot be found or used, or no clock can be measured.
    pub async fn reconnect(&self) -> Result<ServerRun, WindowStoreError> {
        self.find().await?;
        let servers = self.servers.all();
        if let [server] = &servers[..] {
            return self.reconnect_to(server).await;
        }
        let connecting = servers.iter().map(|server| self.connect_to(server));
        let mut runs = Vec::new();
        for connected in join_all(connecting).await {
            runs.push(connected?);
        }
        self.settle_clock().await?;
        Ok(ServerRun::together(&runs))
    }

    /// Finds out which servers a cluster has. There is nothing to find out about a single server.
    ///
    /// # Errors
    /// [`WindowStoreError`] if no server of the cluster says so.
    pub(in crate::limiter) async fn find(&self) -> Result<(), WindowStoreError> {
        match self.servers.cluster() {
            Some(cluster) => cluster.read_map().await,
            None => Ok(()),
        }
    }

    /// Makes a new connection to a server, proves with a write, within the timeout of a request, that it can serve
    /// requests, measures Redis's clock, and reads which nodes there are. The old connections of all threads are not used any more.
    ///
    /// Returns whether the same server process answers as when this last succeeded. If it is another one, it may have
    /// lost what the other knew, and this is the only time that this is said.
    ///
    /// # Errors
    /// [`WindowStoreError`] if any of this fails. The server then stays disconnected.
    pub(in crate::limiter) async fn reconnect_to(
        &self,
        server: &Arc<Server>,
    ) -> Result<ServerRun, WindowStoreError> {
        let run = self.connect_to(server).await?;
        // In a cluster, another server may have the clock. Once this node knows the time, that must not keep this one
        // away.
        if let Err(error) = self.settle_clock().await {
            server.connections().give_up();
            return Err(error);
        }
        Ok(run)
    }

    /// Does as [`reconnect_to`](Self::reconnect_to), and measures only the clock of a single server.
    pub(in crate::limiter) async fn connect_to(
        &self,
        server: &Arc<Server>,
    ) -> Result<ServerRun, WindowStoreError> {
        server.connections().give_up();
        if let Some(cluster) = self.servers.cluster() {
            // While a server is away, another one may have taken over.
            cluster.read_map().await?;
            if cluster.is_unknown(server) {
                return Err(WindowStoreError::Disconnected);
            }
        }
        let common = server.connections().connect().await?;
        let connection = common.connection();
        // It does not matter what the key holds. What counts is that Redis would have written.
        unless_key(self.probe(server, connection).await)?;
        if self.servers.cluster().is_none() {
            self.measure_clock(server, connection, SAMPLES_TO_SETTLE)
                .await?;
        }
        if self.servers.has(server, &self.keys.nodes()) {
            unless_key(self.look(server, connection).await)?;
        }
        Ok(server.establish(common))
    }

    async fn probe(
        &self,
        server: &Arc<Server>,
        connection: &Connection,
    ) -> Result<(), WindowStoreError> {
        let mut keys = std::iter::repeat_with(|| self.keys.probe(rand::random()));
        let key = match self.servers.cluster() {
            // A server that owns no slot has no key to try.
            Some(cluster) if cluster.owns_any(server) => {
                keys.take(KEYS_TO_FIND).find(|key| cluster.has(server, key))
            }
            Some(_) => None,
            None => {
                let some = keys.by_ref().take(KEYS_TO_TRY);
                self.within(server, connection.serves(some), "").await?;
                keys.next()
            }
        };
        let Some(key) = key else {
            return Ok(());
        };
        let at = LogTime::from_micros(1);
        let probe = Record {
            key: &key,
            quota: Quota::one_per_second(),
            entry: self.new_entry(at),
            // So that Redis has to allow all that a request may need.
            earlier: &[self.new_entry(at)],
            is_repeated: true,
            removes_ahead: false,
        };
        let probed = connection.run(&probe, false);
        self.within(server, probed, &key).await?;
        Ok(())
    }

    /// Asks a server whether it is there, and if it is the one whose clock counts, measures that. This also notices that
    /// a server is away although no request comes.
    ///
    /// # Errors
    /// [`WindowStoreError`] if the server does not answer within the timeout.
    pub(in crate::limiter) async fn check(
        &self,
        server: &Arc<Server>,
    ) -> Result<(), WindowStoreError> {
        if self.servers.cluster().is_none() {
            self.measure_clock_in_common().await?;
        } else {
            let time = |link: Arc<Link>| async move {
                self.within(server, link.connection.time(), "").await
            };
            self.in_common(server, time).await?;
            if Arc::ptr_eq(server, &self.servers.with_clock()) {
                // If another server is to blame, its own check finds out.
                let _ = self.measure_clock_in_common().await;
            }
        }
        server.connections().keep_alive().await;
        Ok(())
    }

    /// Measures Redis's clock often enough for a start, unless this node knows its time.
    ///
    /// # Errors
    /// [`WindowStoreError`] if the server whose clock counts, or the one that has the mark, does not answer in time.
    pub(in crate::limiter) async fn settle_clock(&self) -> Result<(), WindowStoreError> {
        while !self.clock.is_settled() {
            self.measure_clock_in_common().await?;
        }
        Ok(())
    }

    pub(super) async fn measure_clock_in_common(&self) -> Result<(), WindowStoreError> {
        let Some(cluster) = self.servers.cluster() else {
            return self.measure_clock_of(&self.servers.with_clock()).await;
        };
        let mut measured = Err(WindowStoreError::Disconnected);
        for server in cluster.with_clocks() {
            let patience = self.timeout.min(CLOCK_PATIENCE);
            let answer = timeout(patience, self.measure_clock_of(&server)).await;
            measured = answer.unwrap_or(Err(WindowStoreError::Timeout(patience)));
            if measured.is_ok() {
                break;
            }
            // Until it answers again, the clock of the next one counts.
            server.keeps_silent();
        }
        measured
    }

    async fn measure_clock_of(&self, server: &Arc<Server>) -> Result<(), WindowStoreError> {
        let measure =
            |link: Arc<Link>| async move { self.measure_clock(server, &link.connection, 1).await };
        self.in_common(server, measure).await
    }

    /// The server that has the log of a client, as far as is known.
    pub(in crate::limiter) fn server_of(&self, policy: &Policy, client: ClientId) -> Held<'_> {
        self.servers.with_key_of(|| self.keys.log(policy, client))
    }

    /// The server whose clock counts.
    pub(in crate::limiter) fn server_with_clock(&self) -> Arc<Server> {
        self.servers.with_clock()
    }

    /// The server that holds the beats of the nodes.
    pub(in crate::limiter) fn server_with_nodes(&self) -> Arc<Server> {
        self.servers.with(&self.keys.nodes()).clone()
    }

    /// All servers that are known at the moment.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.all()
    }

    /// Waits until there are other servers than before.
    pub(in crate::limiter) async fn servers_changed(&self) {
        match self.servers.cluster() {
            Some(cluster) => cluster.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Asks a cluster again and again which server owns which slot. There is nothing to ask a single server.
    pub(in crate::limiter) async fn follow_cluster(&self) {
        let Some(cluster) = self.servers.cluster() else {
            return std::future::pending().await;
        };
        loop {
            sleep(MAP_INTERVAL).await;
            // If a server does not answer, the task that watches it notices.
            let _ = cluster.read_map().await;
        }
    }

    /// Waits until the Sentinels name another master than `server`. This is how a node leaves a master that has been
    /// deposed and still answers. Without Sentinels, this never happens.
    pub(in crate::limiter) async fn deposed(&self, server: &Server) -> WindowStoreError {
        let other = server.connections().connector().another_is_named().await;
        WindowStoreError::Failed(format!("the Sentinels name another master: {other}").into())
    }
}
