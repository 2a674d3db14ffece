//! A database in an SQLite file: the embedded mode.

mod connections;
mod content;
mod damage;
mod file;
mod identity;
mod transaction;
mod url;
mod write_ahead_log;

use std::time::Duration;

use futures_util::future::{BoxFuture, join3};
use sqlx::{Sqlite as SqliteDriver, SqliteConnection, pool::PoolConnection};
use tokio::time::{Instant, sleep, timeout};

use self::{
    connections::{Connections, Writer},
    damage::Damage,
};
use super::{DatabaseError, Ending, PoolUsage, StartUp};

pub use url::SqliteUrl;

/// Between attempts to open a file that another process is just creating.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Between looks at whether another process has removed or changed a file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How a node opens its file.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// `sqlite://path/to/file.db`, or `sqlite::memory:`.
    pub url: SqliteUrl,
    /// The most connections that read; there is always one that writes.
    pub max_connections: u32,
    /// How long a request waits for an answer.
    pub timeout: Duration,
}

/// A database whose tables are up to date, in write-ahead-log mode: readers never wait for the writer.
pub struct Sqlite {
    connections: Connections,
    damage: Damage,
    timeout: Duration,
}

/// The connection that writes, during a transaction. It is closed unless the transaction has come to its end: on some
/// errors of the disk SQLite has ended it by itself, and the driver goes on believing in it. And if nobody waits for it
/// any more, it may still be committed: then [`data_version`](Sqlite::data_version) changes with the connection, after
/// the commit.
///
/// A database in memory has no disk, and would be gone with its only connection.
struct Lease {
    writer: PoolConnection<SqliteDriver>,
    is_in_memory: bool,
    is_finished: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_finished && !self.is_in_memory {
            self.writer.close_on_drop();
        }
    }
}

/// What is done on a connection. A plain function: a closure that borrows its arguments could not be `Send` for every
/// lifetime of the connection.
pub(crate) type Work<A, T = ()> =
    for<'c> fn(&'c mut SqliteConnection, &'c A) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// A value that changes whenever another process commits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataVersion {
    connection: u64,
    version: Option<i64>,
}

impl Sqlite {
    /// Opens the file, creating it if need be, and brings the tables up to date; several processes may do so at once.
    ///
    /// # Errors
    /// [`DatabaseError`] with the last cause.
    pub async fn open(options: &SqliteOptions, start_up: StartUp) -> Result<Self, DatabaseError> {
        let deadline = Instant::now() + start_up.within.min(options.timeout);
        let writer = Writer::new(options);
        while let Err(error) = migrate(&writer).await {
            if Instant::now() + RETRY_INTERVAL > deadline {
                return Err(error);
            }
            sleep(RETRY_INTERVAL).await;
        }
        Ok(Self {
            connections: Connections::open(options, writer).await?,
            damage: Damage::default(),
            timeout: options.timeout,
        })
    }

    /// Whether the database is gone when its only connection closes.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.connections.are_in_memory()
    }

    /// A connection that reads what the writer writes.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<SqliteDriver>, sqlx::Error> {
        self.connections.reader().await
    }

    /// The connection that writes: there is one, and it is handed out in the order of the requests.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<SqliteDriver>, sqlx::Error> {
        self.connections.writer().await
    }

    /// Runs `work` that only reads, within the bound of a request.
    pub(crate) async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        match timeout(self.timeout, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(DatabaseError::Timeout(self.timeout)),
        }
    }

    /// Runs `work` that may write, within the bound of a request. If this succeeds, what was written is in the file
    /// that restarts and backups read.
    pub(crate) async fn write<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        self.connections.may_write()?;
        self.damage.known()?;
        let written = self.read(work).await;
        // Also after a failure: the files may be the reason.
        self.connections.check_files().await?;
        if let Err(error) = &written
            && !self.is_in_memory()
        {
            self.damage.note(error);
        }
        written
    }

    /// Runs `work` in a transaction, within the bound of a request. No other process writes in the meantime. If this
    /// fails, nothing is stored, unless the bound was over during the commit.
    pub(crate) async fn transact<A: Sync + ?Sized, T>(
        &self,
        arguments: &A,
        work: Work<A, Ending<T>>,
    ) -> Result<T, DatabaseError> {
        let transact = async {
            let mut lease = self.lease().await?;
            let done = transaction::run(&mut lease.writer, arguments, work).await;
            lease.is_finished = done.is_ok();
            done
        };
        self.write(transact).await
    }

    /// Runs `work` in a transaction, without the bound of a request, for what a node sets up when it starts. Only the
    /// wait for the lock of the writer has that bound.
    pub(crate) async fn set_up<A: Sync + ?Sized, T>(
        &self,
        arguments: &A,
        work: Work<A, Ending<T>>,
    ) -> Result<T, DatabaseError> {
        let mut lease = self.lease().await?;
        let done = transaction::run(&mut lease.writer, arguments, work).await;
        lease.is_finished = done.is_ok();
        Ok(done?)
    }

    /// Runs `work`, which takes back what it wrote, in a transaction, and commits the transaction. A rollback would
    /// prove less: it needs no room in the write-ahead log, and checks no deferred constraint.
    pub(crate) async fn rehearse<A: Sync + ?Sized>(
        &self,
        arguments: &A,
        work: Work<A>,
    ) -> Result<(), DatabaseError> {
        // Files that were gone may be back.
        self.connections.check_files().await?;
        let rehearse = async {
            let mut lease = self.lease().await?;
            let done = transaction::commit(&mut lease.writer, arguments, work).await;
            lease.is_finished = done.is_ok();
            done
        };
        self.write(rehearse).await
    }

    /// The connection that writes, for a transaction.
    async fn lease(&self) -> Result<Lease, sqlx::Error> {
        Ok(Lease {
            writer: self.writer().await?,
            is_in_memory: self.is_in_memory(),
            is_finished: false,
        })
    }

    /// For a caller that wants to notice what other processes commit. SQLite does not say what was changed, only that
    /// something was.
    ///
    /// # Errors
    /// [`DatabaseError`] if the database cannot answer.
    pub(crate) async fn data_version(&self) -> Result<DataVersion, DatabaseError> {
        let version = async {
            // The writer's: its own commits do not count as changes. The numbers of two connections cannot be compared.
            let mut writer = self.writer().await?;
            let connection = self.connections.writer_number();
            let versions: Vec<i64> = sqlx::query_scalar("PRAGMA data_version")
                .fetch_all(&mut *writer)
                .await?;
            Ok(DataVersion {
                connection,
                version: versions.first().copied(),
            })
        };
        self.read(version).await
    }

    pub(super) async fn maintain(&self, trouble: &(dyn Fn(DatabaseError) + Send + Sync)) {
        let watch_files = async {
            loop {
                sleep(CHECK_INTERVAL).await;
                if let Err(error) = self.connections.check_files().await {
                    trouble(error);
                }
            }
        };
        let look_for_damage = self.damage.look(&self.connections);
        join3(watch_files, self.connections.bound_log(), look_for_damage).await;
    }

    pub(super) fn usage(&self) -> PoolUsage {
        self.connections.usage()
    }

    /// Folds the write-ahead log into the file.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

async fn migrate(writer: &Writer) -> Result<(), DatabaseError> {
    let mut connection = writer.acquire().await?;
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    // The release before this one must still start after this one has migrated.
    migrator.set_ignore_missing(true);
    migrator
        .run(&mut *connection)
        .await
        .map_err(|error| DatabaseError::Migration(error.into()))
}

#[cfg(test)]
impl Sqlite {
    /// A database at this URL, for unit tests.
    pub(crate) async fn for_tests(url: &str) -> std::sync::Arc<Self> {
        const TIMEOUT: Duration = Duration::from_secs(10);
        let options = SqliteOptions {
            url: url.parse().expect("a URL"),
            max_connections: 2,
            timeout: TIMEOUT,
        };
        let sqlite = Self::open(&options, StartUp { within: TIMEOUT }).await;
        std::sync::Arc::new(sqlite.expect("a database"))
    }
}

#[cfg(test)]
mod tests;
