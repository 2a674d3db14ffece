//! Databases: their connections, migrations and health.
//!
//! A store of one feature, such as the links in Postgres, holds an `Arc` of a [`Postgres`] or an [`Sqlite`] and brings
//! the SQL. All stores in one database use the same handle, and so the same connections and bounds. A feature asks its
//! store through [`Health`], which logs when a database begins to fail and when it is back, and which does not ask a
//! database that is away.
//!
//! Nothing here knows what is stored. For each operation that failed, a feature hands over a [`Trial`], which must
//! succeed before the operation counts as healthy again. Only this module and the stores know `sqlx`.

mod error;
mod health;
mod metrics;
mod postgres;
mod sqlite;

use std::{sync::Arc, time::Duration};

pub use error::DatabaseError;
pub use health::{Access, Checks, Health, HealthOperation, Operation, Trial, Troubles};
pub use metrics::register_database_metrics;
pub use postgres::{Postgres, PostgresOptions, PostgresUrl};
pub use sqlite::{Sqlite, SqliteOptions, SqliteUrl};

/// How long a database may take, when a node starts, to become reachable and to be migrated.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// The bound for all attempts together.
    pub within: Duration,
}

/// The database of a node.
#[derive(Clone)]
pub enum Database {
    /// A server that several nodes may use.
    Postgres(Arc<Postgres>),
    /// A file of this node: the embedded mode.
    Sqlite(Arc<Sqlite>),
}

impl Database {
    /// The name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Whether other nodes may use the same database. If so, its outage is no reason to send requests to another node.
    pub fn is_networked(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Sqlite(_) => false,
        }
    }

    /// Does the background work of the database, if it has any. Calls `trouble` with each problem that it notices,
    /// again and again while the problem lasts. Never returns.
    pub async fn maintain(&self, trouble: &(dyn Fn(DatabaseError) + Send + Sync)) {
        match self {
            Self::Postgres(_) => std::future::pending().await,
            Self::Sqlite(sqlite) => sqlite.maintain(trouble).await,
        }
    }

    /// Its connections at the moment.
    pub fn usage(&self) -> PoolUsage {
        match self {
            Self::Postgres(postgres) => postgres.pool.usage(),
            Self::Sqlite(sqlite) => sqlite.usage(),
        }
    }

    /// Closes its connections.
    pub async fn close(&self) {
        match self {
            Self::Postgres(postgres) => postgres.pool.close().await,
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

/// How a transaction ends, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending<T> {
    /// What it wrote is kept.
    Commit(T),
    /// What it wrote is taken back.
    RollBack(T),
}

/// Connections to a database; for SQLite those that read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// In use at the moment.
    pub in_use: usize,
    /// Open and idle.
    pub idle: usize,
    /// The most connections that there may be.
    pub max: usize,
}
