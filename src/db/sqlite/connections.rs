//! One connection that writes, and some that read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::sleep};
use tracing::warn;

use super::{SqliteOptions, file::OpenFiles};
use crate::{
    db::{DatabaseError, PoolUsage},
    telemetry::chain,
};

/// Between looks for an idle reader.
const IDLE_INTERVAL: Duration = Duration::from_millis(2);

/// The size in bytes to which SQLite cuts a write-ahead log that it has folded into the database. Smaller than the
/// bound at which the node begins the log anew.
const LOG_LIMIT: &str = "8388608";

/// The connections of a node to its file.
pub(super) struct Connections {
    /// One connection: SQLite has one writer at a time, and a queue here is fair, which its locks are not.
    writer: Writer,
    readers: SqlitePool,
    /// How many readers were opened since the start.
    opened: Arc<AtomicU64>,
    /// Held by the one request that takes the next idle reader, while no more can be opened.
    turn: Mutex<()>,
    /// `None` for a database in memory.
    pub(super) files: Option<OpenFiles>,
    /// Whether a log that is gone from its path was folded into the database.
    pub(super) log_saved: Mutex<bool>,
    pub(super) timeout: Duration,
}

fn connect(options: &SqliteOptions) -> SqliteConnectOptions {
    let connect = options.url.connect_options();
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
    pub(super) async fn open(
        options: &SqliteOptions,
        writer: Writer,
    ) -> Result<Self, DatabaseError> {
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
        // After a crash SQLite takes all of the log for a checkpoint that was cut short, until a checkpoint completes;
        // in the meantime `Content` could not tell a checkpoint from a foreign write. This one waits for nothing, and
        // need not succeed: the disk may be full.
        let mut connection = writer.acquire().await?;
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
            .map_err(|error| DatabaseError::Failed(error.into()))?;
        let (count, compare) = (opened.clone(), files.clone());
        let readers = pool(options, options.max_connections)
            .after_connect(move |_, _| {
                let (count, compare) = (count.clone(), compare.clone());
                Box::pin(async move {
                    // The reader may have opened another file; see `reader`.
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
        // At least one reader has to be open before the file goes.
        drop(this.reader().await?);
        Ok(this)
    }

    /// The connection that writes.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.writer.acquire().await
    }

    /// Differs whenever the connection that writes is another one.
    pub(super) fn writer_number(&self) -> u64 {
        self.writer.opened.load(Ordering::Relaxed)
    }

    /// A connection that reads what the writer writes. While the files are gone, only readers that were opened before
    /// serve: a new one would read whatever is at the path.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        if let Some(idle) = self.readers.try_acquire() {
            return Ok(idle);
        }
        if !self.files_are_gone() {
            let opened = self.opened.load(Ordering::Relaxed);
            let reader = self.readers.acquire().await;
            // The attempt to open one may have failed because the file is gone.
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
        // One request after the other: each gets the next idle reader.
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

    /// Checks, by the last look at the files, that what is written will be in the file that others read.
    ///
    /// # Errors
    /// [`DatabaseError::FileGone`] if not.
    pub(super) fn may_write(&self) -> Result<(), DatabaseError> {
        let files = self.files.as_ref();
        files.map_or(Ok(()), OpenFiles::known)
    }

    /// Looks at the files again, then checks the same. Folds a log that is gone into the database.
    pub(super) async fn check_files(&self) -> Result<(), DatabaseError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let checked = files.check().await;
        if let Err(DatabaseError::FileGone(_)) = &checked {
            self.save_log(files).await;
        }
        checked
    }

    /// A new connection beside the pool, with nothing cached.
    pub(super) async fn fresh(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.readers.connect_options().connect().await
    }

    pub(super) fn usage(&self) -> PoolUsage {
        let (open, idle) = (self.readers.size() as usize, self.readers.num_idle());
        PoolUsage {
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
