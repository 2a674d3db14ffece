//! How the nodes agree on the time: each measures Redis's clock, and all keep one mark in Redis.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{RedisStore, connection::Connection, timeline::Mark};
use crate::{limiter::WindowStoreError, telemetry::chain};

/// How often Redis's clock is measured when a node knows nothing of it yet, or what it knew no longer holds.
pub(super) const SAMPLES_TO_SETTLE: usize = 3;

/// How long a node that starts waits for others to confirm a mark that seems old. Running nodes confirm it once a
/// second.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// How long Redis keeps the mark, s: the longest window, 366 days, and one day more.
const MARK_SECONDS: u64 = 367 * 86_400;

impl RedisStore {
    /// Measures Redis's clock at least so many times, and agrees with the other nodes on what the result means.
    pub(super) async fn measure_clock(
        &self,
        connection: &Connection,
        times: usize,
    ) -> Result<(), WindowStoreError> {
        let mut needed = times;
        let mut done = 0;
        while done < needed {
            let sent = self.clock.start_sample();
            let redis_time = self.within(connection.time(), "").await?;
            if !self.clock.finish_sample(sent, redis_time) {
                needed = SAMPLES_TO_SETTLE;
            }
            done += 1;
        }
        match self.agree_on_timeline(connection).await {
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
            agreed => agreed,
        }
    }

    /// Reads the mark, settles the timeline, and confirms or replaces the mark.
    async fn agree_on_timeline(&self, connection: &Connection) -> Result<(), WindowStoreError> {
        let key = self.keys.clock();
        let mut mark = self.read_mark(connection, &key).await?;
        let patience = Instant::now() + CONFIRMATION;
        while self.clock.awaits(mark) && Instant::now() < patience {
            sleep(CONFIRMATION / 20).await;
            mark = self.read_mark(connection, &key).await?;
        }
        self.clock.settle(mark);
        let mut set = cmd("SET");
        set.arg(&key).arg(self.clock.mark().to_string());
        set.arg("EX").arg(MARK_SECONDS);
        self.within(connection.query::<()>(&set), &key).await
    }

    async fn read_mark(
        &self,
        connection: &Connection,
        key: &str,
    ) -> Result<Option<Mark>, WindowStoreError> {
        let mut get = cmd("GET");
        get.arg(key);
        let value: Option<Vec<u8>> = self.within(connection.query(&get), key).await?;
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
