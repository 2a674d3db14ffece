//! A Postgres server that all nodes may use.

mod listener;
mod pool;
mod transaction;
mod url;

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, migrate::MigrateError,
    postgres::PgConnectOptions,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use self::{listener::Listener, pool::Pool};
use super::{DatabaseError, StartUp};
use crate::telemetry::chain;

pub use url::PostgresUrl;

/// Between attempts to reach a database that does not answer yet, or to migrate one that is busy.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How long a migration waits for a lock. Whoever wants the table meanwhile waits behind it, also the requests of nodes
/// that run already; and a backup may hold the table for minutes.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '1s'";

/// How a node reaches its database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: PostgresUrl,
    /// The most connections of this node.
    pub max_connections: u32,
    /// How long a request waits, for a connection and an answer together.
    pub timeout: Duration,
}

/// A database whose tables are up to date.
pub struct Postgres {
    pub(crate) pool: Pool,
    connect: PgConnectOptions,
    timeout: Duration,
}

impl Postgres {
    /// Connects and brings the tables up to date; several nodes may do so at once. Tries again until `start_up.within`
    /// is over if the database cannot be reached.
    ///
    /// # Errors
    /// [`DatabaseError`] with the last cause.
    pub async fn connect(
        options: &PostgresOptions,
        start_up: StartUp,
    ) -> Result<Self, DatabaseError> {
        let connect = options.url.connect_options().disable_statement_logging();
        let deadline = Instant::now() + start_up.within;
        while let Err(error) = migrate(&connect, deadline).await {
            let temporary = matches!(error, DatabaseError::Failed(_));
            if !temporary || Instant::now() + RETRY_INTERVAL > deadline {
                return Err(error);
            }
            warn!(
                error = chain(&error),
                database = %options.url,
                "cannot reach the database yet"
            );
            sleep(RETRY_INTERVAL).await;
        }
        Ok(Self {
            pool: Pool::new(connect.clone(), options.max_connections, options.timeout),
            connect,
            timeout: options.timeout,
        })
    }

    /// Listens on a channel of notifications, on a connection of its own beside the pool.
    ///
    /// # Errors
    /// [`DatabaseError`] if the connection cannot be made in time, or does not hear what is announced.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener, DatabaseError> {
        Listener::open(&self.connect, self.timeout, channel).await
    }
}

impl Postgres {
    /// A connection beside the pool, without the bounds of a request, for what a node sets up when it starts.
    ///
    /// # Errors
    /// [`DatabaseError`] if the connection cannot be made within the bound of a request.
    pub(crate) async fn connection(&self) -> Result<PgConnection, DatabaseError> {
        let connected = timeout(self.timeout, self.connect.connect()).await;
        Ok(connected.map_err(|_| DatabaseError::Timeout(self.timeout))??)
    }
}

/// Connects beside the pool, whose errors hide their cause, and migrates.
async fn migrate(options: &PgConnectOptions, deadline: Instant) -> Result<(), DatabaseError> {
    let mut connection = timeout_at(deadline, options.connect())
        .await
        .map_err(|_| DatabaseError::Failed("no answer to the attempt to connect".into()))??;
    connection.execute(LOCK_TIMEOUT).await?;
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // The release before this one must still start after this one has migrated.
    migrator.set_ignore_missing(true);
    // sqlx waits without a bound for the lock that serialises migrations.
    timeout_at(deadline, migrator.run(&mut connection))
        .await
        .map_err(|_| {
            DatabaseError::Migration("no end in time; another node may hold the lock".into())
        })?
        .map_err(|error| {
            if is_lock_timeout(&error) {
                DatabaseError::Failed(error.into())
            } else {
                DatabaseError::Migration(error.into())
            }
        })?;
    // The server notices in any case that the connection is gone.
    let _ = timeout_at(deadline, connection.close()).await;
    Ok(())
}

/// Whether somebody else has held a lock for too long, so that the next attempt may succeed.
fn is_lock_timeout(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("55P03")
}
