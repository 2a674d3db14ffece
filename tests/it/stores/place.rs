//! Databases for the contracts of stores, and every contract run on each of them.

use std::{ops::Deref, path::PathBuf, sync::Arc, time::Duration};

use shunt::{
    db::{self, PostgresOptions, Sqlite, SqliteOptions, StartUp},
    keys::{KeyStore, PostgresKeys, SqliteKeys},
    links::{
        Alias, IgnoreCaseError, LinkStore, PostgresLinks, Schemes, ShortCode, SqliteLinks,
        TargetUrl,
    },
};
use tempfile::TempDir;
use testkit::{Database, Postgres};

const START_UP: StartUp = StartUp {
    within: Duration::from_secs(20),
};
const TIMEOUT: Duration = Duration::from_secs(10);

/// A database that any number of nodes can open.
pub(super) enum Place {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Place {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(super) async fn postgres() -> Self {
        Self::Postgres(Postgres::shared_by_tests().await.database().await)
    }

    pub(super) async fn open(&self) -> Opened {
        let database = self.connect().await;
        let store: Arc<dyn LinkStore> = match &database {
            db::Database::Sqlite(sqlite) => Arc::new(SqliteLinks::new(sqlite.clone())),
            db::Database::Postgres(postgres) => Arc::new(PostgresLinks::new(postgres.clone())),
        };
        Opened::of(database, store)
    }

    /// As a node opens it that takes codes that differ only by case for one code.
    pub(super) async fn open_ignoring_case(&self) -> Result<Opened, IgnoreCaseError> {
        let database = self.connect().await;
        let store: Arc<dyn LinkStore> = match &database {
            db::Database::Sqlite(sqlite) => {
                let within = START_UP.within;
                Arc::new(SqliteLinks::ignoring_case(sqlite.clone(), within).await?)
            }
            db::Database::Postgres(postgres) => {
                let within = START_UP.within;
                Arc::new(PostgresLinks::ignoring_case(postgres.clone(), within).await?)
            }
        };
        Ok(Opened::of(database, store))
    }

    async fn connect(&self) -> db::Database {
        match self {
            Self::Sqlite(directory) => {
                let url = format!("sqlite://{}", directory.path().join("links.db").display());
                let options = SqliteOptions {
                    url: url.parse().expect("a URL"),
                    max_connections: 4,
                    timeout: TIMEOUT,
                };
                let sqlite = Sqlite::open(&options, START_UP).await;
                db::Database::Sqlite(Arc::new(sqlite.expect("a database")))
            }
            Self::Postgres(database) => {
                let options = PostgresOptions {
                    url: database.url().parse().expect("a URL"),
                    max_connections: 8,
                    timeout: TIMEOUT,
                };
                let postgres = db::Postgres::connect(&options, START_UP).await;
                db::Database::Postgres(Arc::new(postgres.expect("a database")))
            }
        }
    }

    /// The path of the file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(directory) => Some(directory.path().join("links.db")),
            Self::Postgres(_) => None,
        }
    }

    /// Runs statements, past the store.
    pub(super) async fn execute(&self, sql: &'static str) {
        self.try_execute(sql).await.expect(sql);
    }

    /// Runs statements that the database may refuse, past the store.
    pub(super) async fn try_execute(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {
                use sqlx::{Connection, SqliteConnection};
                let url = format!("sqlite://{}", self.file().expect("a file").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file");
                let run = sqlx::raw_sql(sql).execute(&mut connection);
                run.await.map(drop)
            }
            Self::Postgres(database) => {
                let run = sqlx::raw_sql(sql);
                run.execute(&mut database.connect().await).await.map(drop)
            }
        }
    }

    /// The number that a statement returns, past the store.
    pub(super) async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Self::Sqlite(directory) => {
                use sqlx::{Connection, SqliteConnection};
                let url = format!("sqlite://{}", directory.path().join("links.db").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file");
                let numbers: Vec<i64> = sqlx::query_scalar(sql)
                    .fetch_all(&mut connection)
                    .await
                    .expect(sql);
                numbers[0]
            }
            Self::Postgres(database) => database.number(sql).await,
        }
    }
}

/// The stores of one node, and its database.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn LinkStore>,
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) database: db::Database,
}

impl Opened {
    fn of(database: db::Database, store: Arc<dyn LinkStore>) -> Self {
        let keys: Arc<dyn KeyStore> = match &database {
            db::Database::Sqlite(sqlite) => Arc::new(SqliteKeys::new(sqlite.clone())),
            db::Database::Postgres(postgres) => Arc::new(PostgresKeys::new(postgres.clone())),
        };
        Self {
            store,
            keys,
            database,
        }
    }
}

impl Deref for Opened {
    type Target = dyn LinkStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Every scenario on every store.
macro_rules! contract {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $scenario() {
                super::$scenario($crate::stores::place::Place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $scenario() {
                testkit::needs!("postgres");
                super::$scenario($crate::stores::place::Place::postgres().await).await;
            })+
        }
    };
}

pub(super) use contract;

pub(super) fn url(text: &str) -> TargetUrl {
    TargetUrl::parse(text, &Schemes::default()).expect("a URL")
}

pub(super) fn code(text: &str) -> ShortCode {
    Alias::parse(text).expect("a code").into_code()
}
