//! SQLite's write-ahead log: it does not grow without bound, and what is in it is not lost.

use std::time::Duration;

use sqlx::Row;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{connections::Connections, file::OpenFiles};
use crate::telemetry::chain;

/// Between looks at how large the write-ahead log is.
const LOG_INTERVAL: Duration = Duration::from_millis(200);

/// Beyond this many bytes the node begins the write-ahead log anew, even if it has to wait for readers. SQLite does so
/// by itself after about 4 MiB, at a moment without readers; where readers overlap, that moment never comes.
const LOG_BOUND: u64 = 16 << 20;

/// How long writes wait for readers when the log is begun anew.
const LOG_PATIENCE: Duration = Duration::from_millis(200);

/// The pause after an attempt that failed. Without it, a slow reader, such as a backup, would stop writes for
/// [`LOG_PATIENCE`] out of every second.
const LOG_PAUSE: Duration = Duration::from_secs(5);

impl Connections {
    /// Keeps the write-ahead log from growing. Never returns.
    pub(super) async fn bound_log(&self) {
        let Some(files) = &self.files else {
            return std::future::pending().await;
        };
        let mut in_vain = false;
        loop {
            sleep(if in_vain { LOG_PAUSE } else { LOG_INTERVAL }).await;
            if files.write_ahead_log_size().await <= LOG_BOUND {
                in_vain = false;
                continue;
            }
            let was_in_vain = in_vain;
            let begun_anew = self.begin_log_anew().await;
            in_vain = !matches!(begun_anew, Ok(true));
            match begun_anew {
                Ok(true) if was_in_vain => {
                    info!("the write-ahead log is folded into the database again");
                }
                Ok(false) if !was_in_vain => {
                    warn!(
                        "the write-ahead log grows: something has been reading the database for long, such as a backup or \
                         an open transaction"
                    );
                }
                Err(error) if !was_in_vain => {
                    let error = chain(&error);
                    warn!(
                        error,
                        "the write-ahead log grows: it cannot be folded into the database"
                    );
                }
                _ => {}
            }
        }
    }

    /// Folds all of the write-ahead log into the file, and empties it. `false` if a reader was there for longer than
    /// [`LOG_PATIENCE`]: then SQLite folds in as much as possible.
    async fn begin_log_anew(&self) -> Result<bool, sqlx::Error> {
        let mut writer = self.writer().await?;
        let patience = |time: Duration| {
            let pragma = format!("PRAGMA busy_timeout = {}", time.as_millis());
            sqlx::query(sqlx::AssertSqlSafe(pragma))
        };
        patience(LOG_PATIENCE).execute(&mut *writer).await?;
        let done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_all(&mut *writer)
            .await;
        patience(self.timeout).execute(&mut *writer).await?;
        let busy: i64 = match done?.first() {
            Some(row) => row.try_get(0)?,
            None => 0,
        };
        Ok(busy == 0)
    }

    /// Folds a log that was removed into the database: what is in it would be lost with this process, which still has
    /// it open.
    pub(super) async fn save_log(&self, files: &OpenFiles) {
        // Another request may be doing it.
        let Ok(mut saved) = self.log_saved.try_lock() else {
            return;
        };
        if *saved || !files.only_log_is_gone().await {
            return;
        }
        match self.begin_log_anew().await {
            Ok(true) => {
                *saved = true;
                info!("the write-ahead log is gone; what it had is folded into the database");
            }
            Ok(false) => {}
            Err(error) => {
                let error = chain(&error);
                warn!(
                    error,
                    "the write-ahead log is gone, and cannot be folded into the database"
                );
            }
        }
    }
}
