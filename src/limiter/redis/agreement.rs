//! How the nodes agree on the time: each measures Redis's clock, and all keep one mark in Redis.

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::cmd;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{RedisStore, connection::Connection, server::Server, timeline::Mark};
use crate::{limiter::WindowStoreError, telemetry::chain};

/// How often Redis's clock is measured when a node knows nothing of it yet, or what it knew no longer holds.
pub(super) const SAMPLES_TO_SETTLE: usize = 3;

/// How long a node that starts waits for others to confirm a mark that seems old. Running nodes confirm it once a
/// second.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// How long a server of a cluster may take to answer about the mark after another one has told the time.
const MARK_PATIENCE: Duration = Duration::from_millis(100);

/// How long Redis keeps the mark, s: the longest window, 366 days, and one day more.
const MARK_SECONDS: u64 = 367 * 86_400;

impl RedisStore {
    /// Measures the clock of a server at least so many times, and agrees with the other nodes on what the result means.
    /// `connection` leads to this server.
    pub(super) async fn measure_clock(
        &self,
        server: &Arc<Server>,
        connection: &Connection,
        times: usize,
    ) -> Result<(), WindowStoreError> {
        let mut needed = times;
        let mut done = 0;
        while done < needed {
            let sent = self.clock.start_sample();
            let redis_time = self.within(server, connection.time(), "").await?;
            if !self.clock.finish_sample(sent, redis_time) {
                needed = SAMPLES_TO_SETTLE;
            }
            done += 1;
        }
        self.servers.usual_round_trip(self.clock.round_trip());
        match self.agree_in_time(server, connection).await {
            // Another program uses the key of the mark. This node goes on with what it knows itself.
            Err(error @ WindowStoreError::Key { .. }) => {
                self.clock.settle(None);
                if self.bad_mark.is_due() {
                    warn!(
                        error = chain(&error),
                        "nodes that start after a step of Redis's clock will not know of it"
                    );
                }
                Ok(())
            }
            // Another server of a cluster has the mark, and is away. Until it is back, all nodes go on with what they
            // know. A node that has just started knows nothing, and has to wait for the mark.
            Err(_) if self.clock.is_settled() && !self.servers.has(server, &self.keys.clock()) => {
                self.clock.settle(None);
                Ok(())
            }
            agreed => agreed,
        }
    }

    /// Does what [`agree_on_timeline`](Self::agree_on_timeline) does. If another server has the mark, a
    /// node that knows the time does not wait for it for long.
    async fn agree_in_time(
        &self,
        server: &Arc<Server>,
        connection: &Connection,
    ) -> Result<(), WindowStoreError> {
        let agreed = self.agree_on_timeline(server, connection);
        let with_mark = self.servers.with(&self.keys.clock());
        if Arc::ptr_eq(&with_mark, server) || !self.clock.is_settled() {
            return agreed.await;
        }
        let patience = self.timeout.min(MARK_PATIENCE);
        let late = || Err(WindowStoreError::Timeout(patience));
        if !with_mark.has_answered() {
            return late();
        }
        let agreed = timeout(patience, agreed).await;
        agreed.unwrap_or_else(|_| {
            with_mark.keeps_silent();
            late()
        })
    }

    /// Reads the mark, settles the timeline, and confirms or replaces the mark.
    async fn agree_on_timeline(
        &self,
        server: &Arc<Server>,
        connection: &Connection,
    ) -> Result<(), WindowStoreError> {
        let key = self.keys.clock();
        let at = (server, connection);
        let mut mark = self.read_mark(at, &key).await?;
        let patience = Instant::now() + CONFIRMATION;
        while self.clock.awaits(mark) && Instant::now() < patience {
            sleep(CONFIRMATION / 20).await;
            mark = self.read_mark(at, &key).await?;
        }
        self.clock.settle(mark);
        let mut set = cmd("SET");
        set.arg(&key).arg(self.clock.mark().to_string());
        set.arg("EX").arg(MARK_SECONDS);
        self.query(&set, &key, Some(at)).await
    }

    async fn read_mark(
        &self,
        at: (&Arc<Server>, &Connection),
        key: &str,
    ) -> Result<Option<Mark>, WindowStoreError> {
        let mut get = cmd("GET");
        get.arg(key);
        let value: Option<Vec<u8>> = self.query(&get, key, Some(at)).await?;
        let Some(value) = value else {
            return Ok(None);
        };
        Mark::parse(&value)
            .map(Some)
            .ok_or_else(|| WindowStoreError::Key {
                key: key.to_owned(),
                error: "it holds no mark of a clock".into(),
            })
    }
}
