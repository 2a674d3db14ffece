//! One connection that writes, some that read, and the write-ahead log between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Row, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::sleep};
use tracing::{info, warn};

use super::{SqliteOptions, database_error, file::OpenFiles};
use crate::{
    links::{StoreError, StoreUsage},
    telemetry::chain,
};

/// Between looks at how large the write-ahead log is.
const LOG_INTERVAL: Duration = Duration::from_millis(200);

/// After this many bytes the write-ahead log is begun anew, even if readers have to be waited for. SQLite does it by itself
/// after about 4 MiB, at a moment at which nobody reads; where somebody always does, that moment never comes.
const LOG_BOUND: u64 = 16 << 20;

/// What is left of a write-ahead log that had to grow beyond that, in bytes.
const LOG_LIMIT: &str = "8388608";

/// How long those who write wait for those who read when the log is begun anew.
const LOG_PATIENCE: Duration = Duration::from_millis(200);

/// After an attempt that was in vain: a reader that takes long, such as a backup, may not stop writes for
/// [`LOG_PATIENCE`] out of every second.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// Between looks for a reader that has nothing to do.
const IDLE_INTERVAL: Duration = Duration::from_millis(2);

/// The connections of a node to its file.
pub(super) struct Connections {
    /// One connection: SQLite has one writer at a time, and a queue here is fair where its locks are not.
    writer: Writer,
    readers: SqlitePool,
    /// How many readers were opened so far.
    opened: Arc<AtomicU64>,
    /// Of those who wait for a reader while no more can be opened.
    turn: Mutex<()>,
    /// `None` for a database in memory.
    files: Option<OpenFiles>,
    /// Whether a log that is gone from its path was folded into the database, as far as it had anything.
    log_saved: Mutex<bool>,
    timeout: Duration,
}

fn connect(options: &SqliteOptions) -> SqliteConnectOptions {
    let connect = options.url.0.clone();
    connect
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What a 200 promised survives a power cut. (NORMAL may lose the last commits.)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", LOG_LIMIT)
        .busy_timeout(options.timeout)
        .disable_statement_logging()
}

fn pool(options: &SqliteOptions, max_connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(options.timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// The connection that writes; it is opened when it is used first.
pub(super) struct Writer {
    pool: SqlitePool,
    opened: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn new(options: &SqliteOptions) -> Self {
        let opened = Arc::new(AtomicU64::new(0));
        let count = opened.clone();
        let pool = pool(options, 1).after_connect(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Ok(())))
        });
        Self {
            pool: pool.connect_lazy_with(connect(options)),
            opened,
        }
    }

    pub(super) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.pool.acquire().await
    }
}

impl Connections {
    /// Readers beside a `writer` that is open already.
    pub(super) async fn open(options: &SqliteOptions, writer: Writer) -> Result<Self, StoreError> {
        let opened = Arc::new(AtomicU64::new(0));
        if options.url.is_in_memory() {
            return Ok(Self {
                readers: writer.pool.clone(),
                writer,
                opened,
                turn: Mutex::default(),
                files: None,
                log_saved: Mutex::default(),
                timeout: options.timeout,
            });
        }
        // After a crash SQLite takes all of the log for a checkpoint that was cut short, until there is one that was not; in
        // the meantime `Content` could not tell a checkpoint from something else. It waits for nobody, and does not
        // have to succeed: there may be no room.
        let mut connection = writer.acquire().await.map_err(database_error)?;
        let fold = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)");
        if let Err(error) = fold.fetch_all(&mut *connection).await {
            let error = chain(&error);
            warn!(
                error,
                "the write-ahead log cannot be folded into the database"
            );
        }
        drop(connection);
        let files = OpenFiles::of(options.url.path())
            .map_err(|error| StoreError::Database(error.into()))?;
        let (count, compare) = (opened.clone(), files.clone());
        let readers = pool(options, options.max_connections)
            .after_connect(move |_, _| {
                let (count, compare) = (count.clone(), compare.clone());
                Box::pin(async move {
                    // What was opened a moment ago may be another file; see `reader`.
                    let _ = compare.check().await;
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            })
            .connect_lazy_with(connect(options).read_only(true));
        let this = Self {
            writer,
            readers,
            opened,
            turn: Mutex::default(),
            files: Some(files),
            log_saved: Mutex::default(),
            timeout: options.timeout,
        };
        // One at least has to be there should the file go.
        drop(this.reader().await.map_err(database_error)?);
        Ok(this)
    }

    /// The connection that writes.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.writer.acquire().await
    }

    /// Another number whenever the connection that writes is another one.
    pub(super) fn writer_number(&self) -> u64 {
        self.writer.opened.load(Ordering::Relaxed)
    }

    /// A connection that reads what the writer writes. While the files are gone it is one of those that were opened before:
    /// a new one would read whatever is at their path.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        if let Some(idle) = self.readers.try_acquire() {
            return Ok(idle);
        }
        if !self.files_are_gone() {
            let opened = self.opened.load(Ordering::Relaxed);
            let reader = self.readers.acquire().await;
            // Or there may be nothing to open any more.
            let there = match &reader {
                Ok(_) => !self.files_are_gone(),
                Err(_) => self.check_files().await.is_ok(),
            };
            if there {
                return reader;
            }
            if let Ok(mut reader) = reader {
                if self.opened.load(Ordering::Relaxed) == opened {
                    return Ok(reader);
                }
                reader.close_on_drop();
            }
        }
        // One after the other: each gets the next that is idle.
        let _turn = self.turn.lock().await;
        loop {
            if let Some(idle) = self.readers.try_acquire() {
                return Ok(idle);
            }
            if !self.files_are_gone() {
                return self.readers.acquire().await;
            }
            sleep(IDLE_INTERVAL).await;
        }
    }

    pub(super) fn are_in_memory(&self) -> bool {
        self.files.is_none()
    }

    fn files_are_gone(&self) -> bool {
        self.files.as_ref().is_some_and(OpenFiles::are_gone)
    }

    /// Whether what is written would be in the file that others read, as far as is known already.
    ///
    /// # Errors
    /// [`StoreError::FileGone`] if not.
    pub(super) fn may_write(&self) -> Result<(), StoreError> {
        let files = self.files.as_ref();
        files.map_or(Ok(()), OpenFiles::known)
    }

    /// The same, after another look. A log that is found to be gone is folded into the database.
    pub(super) async fn check_files(&self) -> Result<(), StoreError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let checked = files.check().await;
        if let Err(StoreError::FileGone(_)) = &checked {
            self.save_log(files).await;
        }
        checked
    }

    /// What is in a log that was removed would be lost with this process, which still has it open.
    async fn save_log(&self, files: &OpenFiles) {
        // Another request may be at it.
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

    /// A connection beside the others that reads, and remembers nothing.
    pub(super) async fn fresh(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.readers.connect_options().connect().await
    }

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
                        "the write-ahead log grows: somebody has been reading the database for long, such as a backup or \
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

    /// Folds all of the write-ahead log into the file, and empties it. `false` if there was a reader for longer than
    /// [`LOG_PATIENCE`]: then as much as possible is folded in.
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

    pub(super) fn usage(&self) -> StoreUsage {
        let (open, idle) = (self.readers.size() as usize, self.readers.num_idle());
        StoreUsage {
            in_use: open.saturating_sub(idle),
            idle,
            max: self.readers.options().get_max_connections() as usize,
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.pool.close().await;
    }
}
