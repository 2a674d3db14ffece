//! The limiter's background work.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join, join_all, join3};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Limiter, Logs, RedisOperation, RedisServer, ServerRun, WindowStore, WindowStoreError,
    with_redis::RedisLimiter,
};
use crate::telemetry::chain;

/// How often each server is asked whether it is there, and one of them for its time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a node tries to reconnect while Redis is away, and how often it looks whether Redis is away.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How often clients that no longer count are forgotten even if no request comes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

impl Limiter {
    /// Works until `stop`: watches Redis and its clock, reconnects after a failure, beats so that other nodes count this
    /// one, tells Redis what it may not have, and forgets idle clients. Cancel `stop` only after the last request: the
    /// work ends with one more write-back and with leaving the other nodes, and Redis never hears of what the shield
    /// refuses after that.
    pub async fn supervise(&self, stop: CancellationToken) {
        let redis = async {
            match self.redis_limiter() {
                // In a box, because this future is large.
                Some(redis) => {
                    Box::pin(join3(redis.watch(), redis.beat_on(), redis.write_back())).await
                }
                None => std::future::pending().await,
            }
        };
        let sweep = async {
            loop {
                sleep(SWEEP_INTERVAL).await;
                self.sweep();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            ((), (), ()) = redis => {}
            () = sweep => {}
        }
        if let Some(redis) = self.redis_limiter() {
            redis.write_back_once().await;
            redis.leave().await;
        }
    }

    fn sweep(&self) {
        match &self.0 {
            Logs::Memory(logs) => logs.sweep(),
            Logs::Redis(redis) => {
                let now = redis.store().store().now();
                redis.store().journal().sweep(now);
            }
        }
    }
}

impl RedisLimiter {
    /// Watches all servers, and which there are.
    async fn watch(&self) {
        let store = self.redis.store();
        let watching = async {
            loop {
                let servers = store.servers();
                tokio::select! {
                    _ = join_all(servers.iter().map(|server| self.watch_server(server))) => {}
                    () = store.servers_changed() => {}
                }
            }
        };
        join(watching, store.follow_cluster()).await;
    }

    /// Asks a server from time to time while its breaker is closed, and reconnects while it is open.
    async fn watch_server(&self, server: &Arc<RedisServer>) {
        loop {
            match server.breaker().closed_generation() {
                Some(generation) if server.is_connected() => self.check(server, generation).await,
                // The cluster has named it a moment ago, and requests wait for it.
                Some(generation) => {
                    if let Err(error) = self.try_to_connect(server).await {
                        self.failed(&error, server, generation);
                        sleep(PROBE_INTERVAL).await;
                    }
                }
                None => {
                    if server.has_taken_over() {
                        self.has_opened(&WindowStoreError::Restarted, server.address());
                    }
                    self.rejoin(server).await;
                }
            }
        }
    }

    /// Asks the server when it is due, or soon after a request had no answer: if this has none either, the server is
    /// away. Returns early if its breaker opens.
    async fn check(&self, server: &Arc<RedisServer>, generation: u64) {
        let store = self.redis.store();
        let suspected = async {
            sleep(PROBE_INTERVAL).await;
            server.suspected().await;
        };
        tokio::select! {
            () = server.breaker().opened() => return,
            error = store.deposed(server) => {
                self.failed(&error, server, generation);
                return;
            }
            () = suspected => {}
            () = sleep(CLOCK_INTERVAL) => {}
        }
        let check = store.check(server);
        if let Err(error) = self.redis.measured(RedisOperation::Time, check).await {
            self.failed(&error, server, generation);
        }
        self.notice_clock_step();
    }

    /// Beats while Redis is there: the nodes have to know how many they are before it goes away, and whether it has lost
    /// writes.
    async fn beat_on(&self) {
        let store = self.redis.store();
        loop {
            if !store.server_with_nodes().breaker().is_open() {
                // What follows if this fails has been done.
                let _ = self.look_for_losses().await;
            }
            sleep(store.roster().unwrap_or_default().interval()).await;
        }
    }

    /// Stops counting as a node, unless Redis is away.
    async fn leave(&self) {
        let store = self.redis.store();
        if !store.server_with_nodes().breaker().is_open()
            && let Err(error) = store.leave().await
        {
            debug!(
                error = chain(&error),
                "other nodes count this one for a while"
            );
        }
    }

    pub(super) async fn try_to_connect(
        &self,
        server: &Arc<RedisServer>,
    ) -> Result<ServerRun, WindowStoreError> {
        let reconnect = self.redis.store().reconnect_to(server);
        let reconnect = self.redis.measured(RedisOperation::Connect, reconnect);
        reconnect.await
    }

    async fn write_back(&self) {
        loop {
            sleep(self.redis.write_back_interval()).await;
            self.write_back_once().await;
        }
    }

    /// Tells Redis what it may not have, as far as it is there.
    async fn write_back_once(&self) {
        let now = self.redis.store().now();
        if let Err(write) = self.redis.write_back(now).await {
            self.failed(&write.error, &write.server, write.generation);
        }
    }
}
