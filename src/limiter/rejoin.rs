//! How a node comes back to Redis.
//!
//! Redis must not decide alone before it has everything that the nodes know: what they admitted meanwhile, and, if it
//! has lost its memory, all that was in its logs. So a node that comes back goes through these steps:
//!
//! | step | requests are decided by | because |
//! |---|---|---|
//! | connect, measure the clock, read which nodes there are | the node alone | |
//! | if Redis has lost writes: wait until all nodes must have noticed it | Redis *and* the node: it is admitted if both admit it | a log that one node has given back looks whole to a node that has not noticed; the others have to know of this request |
//! | write back what Redis may not have, or all if it has lost writes | the same | |
//! | beat, and wait until all other nodes have beaten | the same | Redis may still lack what others know |
//! | close the breaker | Redis | |
//!
//! In a cluster, each server is come back to by itself. The beats are on one of them; for the others, a node waits for a
//! fixed time instead.
//!
//! A node that has died meanwhile is waited for until it is silent for so long that it no longer counts.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    LogTime, RedisServer, ServerRun, WindowStore, WindowStoreError, with_redis::RedisLimiter,
};

/// How often a node tries to come back.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A node that waits for the others beats so many times more often than usually. With more nodes, each beats more
/// rarely, because each beat reads those of all.
const BEATS_WHILE_WAITING: u32 = 10;

impl RedisLimiter {
    /// Tries until the server can decide requests again, then closes its breaker.
    pub(super) async fn rejoin(&self, server: &Arc<RedisServer>) {
        while let Err(error) = self.try_to_rejoin(server).await {
            server.rejoins(false);
            self.report.is_still_away(&error, server.address());
            sleep(RETRY_INTERVAL).await;
        }
        let away_for = server.close();
        server.rejoins(false);
        self.report.is_back(away_for, server.address());
    }

    async fn try_to_rejoin(&self, server: &Arc<RedisServer>) -> Result<(), WindowStoreError> {
        let store = self.redis.store();
        if self.try_to_connect(server).await? != ServerRun::Same {
            server.has_lost_writes(true);
        }
        if !self.has_log_time.load(Ordering::Acquire) {
            self.redis.journal().shift(store.log_offset());
            self.has_log_time.store(true, Ordering::Release);
        }
        self.notice_clock_step();
        let returned = store.now();
        let holds_beats = Arc::ptr_eq(server, &store.server_with_nodes());
        let lost = self.count_nodes().filter(|_| holds_beats);
        server.rejoins(true);
        if let Some(generation) = lost {
            server.has_lost_writes(true);
            self.report.lost_writes(generation);
            store.enter_generation(generation);
            self.let_others_notice().await;
        }
        self.redis.restore_all(server, store.now()).await?;
        if holds_beats {
            self.wait_for_others(server, returned).await?;
        } else {
            // The beats are on another server of the cluster, and say nothing of this one.
            self.let_others_notice().await;
        }
        server.has_lost_writes(false);
        Ok(())
    }

    /// Waits until all other nodes have come back: until they have beaten since this node `returned`.
    async fn wait_for_others(
        &self,
        server: &Arc<RedisServer>,
        returned: LogTime,
    ) -> Result<(), WindowStoreError> {
        let store = self.redis.store();
        loop {
            // What this node has decided alone since. The others take a beat as a sign that Redis has all of it.
            self.redis.restore_listed(server, store.now()).await?;
            if self.beat().await?.is_some() {
                return Err(WindowStoreError::LostWrites);
            }
            let roster = store.roster().unwrap_or_default();
            if roster.have_all_beaten(returned, store.generation()) {
                return Ok(());
            }
            sleep(roster.interval() / BEATS_WHILE_WAITING).await;
        }
    }

    /// Waits for as long as other nodes need to notice what this one has noticed: each beats in this time.
    async fn let_others_notice(&self) {
        let roster = self.redis.store().roster().unwrap_or_default();
        sleep(2 * roster.interval()).await;
    }
}
