//! Links in an SQLite file: the embedded mode.

use std::{path::Path, str::FromStr, time::Duration};

use async_trait::async_trait;
use sqlx::{
    ConnectOptions, Row, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Change, Created, Link, LinkStore, LookUp, NewLink, ShortCode, StartUp, StoreError, StoreUsage,
    Terms,
};

/// Between attempts to open a file that another process is just creating.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Between looks at whether another process has changed the file.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// By `urls_url_sha256_key`.
const FIND_SHARED: &str = "SELECT short_code FROM urls WHERE url_sha256 = ?1";

/// No row comes back when the target has a shared link already. Unique by `urls_url_sha256_key` and
/// `urls_short_code_key`.
const INSERT_SHARED: &str = "
    INSERT INTO urls (short_code, original_url, url_sha256) VALUES (?1, ?2, ?3)
    ON CONFLICT (url_sha256) DO NOTHING
    RETURNING short_code";

/// Unique by `urls_short_code_key`.
const INSERT_OWN: &str = "
    INSERT INTO urls (short_code, original_url, expires_at, max_visits)
    VALUES (?1, ?2, unixepoch('subsec') + ?3, ?4)
    ON CONFLICT (short_code) DO NOTHING";

/// By `urls_short_code_key`, once for each code of a JSON array.
const LOOK_UP: &str = "
    SELECT original_url,
           max_visits IS NOT NULL AS limited,
           coalesce(expires_at <= unixepoch('subsec'), 0) OR coalesce(visits >= max_visits, 0) AS gone,
           expires_at - unixepoch('subsec') AS expires_in
    FROM json_each(?1) AS asked LEFT JOIN urls ON short_code = asked.value
    ORDER BY asked.key";

/// Uses up one visit, unless others have used up the last in the meantime. By `urls_short_code_key`.
const COUNT_VISIT: &str = "
    UPDATE urls SET visits = visits + 1
    WHERE short_code = ?1 AND visits < max_visits";

/// How an [`SqliteStore`] opens its file.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// `sqlite://path/to/file.db`, or `sqlite::memory:`.
    pub url: SqliteUrl,
    /// The most connections that read; there is always one that writes.
    pub max_connections: u32,
    /// How long a request waits for an answer.
    pub timeout: Duration,
}

/// A parsed `sqlite:` URL.
#[derive(Clone, Debug)]
pub struct SqliteUrl(SqliteConnectOptions);

impl FromStr for SqliteUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "not an SQLite URL: expected sqlite://path/to/file.db";
        if !text.starts_with("sqlite:") {
            return Err(error);
        }
        let options = SqliteConnectOptions::from_str(text).map_err(|_| error)?;
        Ok(Self(options))
    }
}

impl SqliteUrl {
    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.0.get_filename()
    }

    fn is_in_memory(&self) -> bool {
        let path = self.path().to_string_lossy();
        path.contains(":memory:") || path.contains("mode=memory") || path.contains("sqlx-in-memory")
    }
}

/// Links in an SQLite file, in write-ahead-log mode: readers never wait for the writer.
pub struct SqliteStore {
    /// One connection: SQLite has one writer at a time, and a queue here is fair where its locks are not.
    writer: SqlitePool,
    readers: SqlitePool,
    timeout: Duration,
}

impl SqliteStore {
    /// Opens the file, creating it if need be, and brings the tables up to date; several processes may do so
    /// at once.
    ///
    /// # Errors
    /// [`StoreError`] with the last cause.
    pub async fn open(options: &SqliteOptions, start_up: StartUp) -> Result<Self, StoreError> {
        let deadline = Instant::now() + start_up.within.min(options.timeout);
        let in_memory = options.url.is_in_memory();
        let connect = options
            .url
            .0
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What a 200 promised survives a power cut. (NORMAL may lose the last commits.)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.timeout)
            .disable_statement_logging();
        let pool = |max_connections| {
            SqlitePoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(options.timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_lazy_with(connect.clone());
        while let Err(error) = prepare(&writer).await {
            if Instant::now() + RETRY_INTERVAL > deadline {
                return Err(error);
            }
            sleep(RETRY_INTERVAL).await;
        }
        let readers = if in_memory {
            writer.clone()
        } else {
            pool(options.max_connections).connect_lazy_with(connect.read_only(true))
        };
        Ok(Self {
            writer,
            readers,
            timeout: options.timeout,
        })
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(database_error(error)),
            Err(_) => Err(StoreError::Timeout(self.timeout)),
        }
    }

    async fn insert_shared(&self, link: &NewLink<'_>) -> Result<Created, sqlx::Error> {
        let hash = link.target_hash();
        let hash = hash.as_ref().map(<[u8; 32]>::as_slice);
        loop {
            let known = sqlx::query_scalar(FIND_SHARED)
                .bind(hash)
                .fetch_optional(&self.readers)
                .await?;
            if let Some(code) = known {
                return Ok(Created::Stored(ShortCode::from_store(code)));
            }
            let made = sqlx::query_scalar(INSERT_SHARED)
                .bind(link.code.as_str())
                .bind(link.target.as_str())
                .bind(hash)
                .fetch_optional(&self.writer)
                .await;
            match made {
                Ok(Some(code)) => return Ok(Created::Stored(ShortCode::from_store(code))),
                // Somebody else was faster: the next look finds it.
                Ok(None) => {}
                Err(error) if is_code_taken(&error) => return Ok(Created::CodeTaken),
                Err(error) => return Err(error),
            }
        }
    }

    async fn insert_own(&self, link: &NewLink<'_>) -> Result<Created, sqlx::Error> {
        let Terms {
            expires_in,
            max_visits,
        } = link.terms;
        let inserted = sqlx::query(INSERT_OWN)
            .bind(link.code.as_str())
            .bind(link.target.as_str())
            .bind(expires_in.map(|duration| duration.as_secs_f64()))
            .bind(max_visits)
            .execute(&self.writer)
            .await?;
        Ok(match inserted.rows_affected() {
            0 => Created::CodeTaken,
            _ => Created::Stored(link.code.clone()),
        })
    }
}

#[async_trait]
impl LinkStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn insert(&self, link: &NewLink<'_>) -> Result<Created, StoreError> {
        if link.shared {
            self.within(self.insert_shared(link)).await
        } else {
            self.within(self.insert_own(link)).await
        }
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, StoreError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        // Codes have no character that JSON would escape.
        let codes = format!("[\"{}\"]", codes.join("\",\""));
        let look_up = sqlx::query(LOOK_UP).bind(codes).fetch_all(&self.readers);
        let rows = self.within(look_up).await?;
        let found: Result<_, _> = rows.iter().map(found).collect();
        found.map_err(database_error)
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, StoreError> {
        let count = sqlx::query(COUNT_VISIT)
            .bind(code.as_str())
            .execute(&self.writer);
        Ok(self.within(count).await?.rows_affected() == 1)
    }

    /// Who else writes to the file is another process: an administrator with the `sqlite3` shell, mostly. SQLite does
    /// not say what was changed, only that something was.
    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> StoreError {
        let mut seen = None;
        loop {
            // Of one connection always, and the one that writes: its own commits do not count as changes.
            let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.writer);
            let version: i64 = match self.within(version).await {
                Ok(version) => version,
                Err(error) => return error,
            };
            match seen.replace(version) {
                None => report(Change::Watching),
                Some(before) if before != version => report(Change::Everything),
                Some(_) => {}
            }
            sleep(WATCH_INTERVAL).await;
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ping = sqlx::query("SELECT 1").execute(&self.readers);
        self.within(ping).await.map(drop)
    }

    fn usage(&self) -> StoreUsage {
        let (open, idle) = (self.readers.size() as usize, self.readers.num_idle());
        StoreUsage {
            in_use: open.saturating_sub(idle),
            idle,
            max: self.readers.options().get_max_connections() as usize,
        }
    }

    /// Folds the write-ahead log into the file.
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn found(row: &SqliteRow) -> Result<LookUp, sqlx::Error> {
    let url: Option<String> = row.try_get("original_url")?;
    let Some(url) = url else {
        return Ok(LookUp::Unknown);
    };
    if row.try_get("gone")? {
        return Ok(LookUp::Gone);
    }
    let expires_in: Option<f64> = row.try_get("expires_in")?;
    Ok(LookUp::Found(Link {
        url,
        limited: row.try_get("limited")?,
        expires_in: expires_in
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
    }))
}

async fn prepare(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = writer.acquire().await.map_err(database_error)?;
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.set_ignore_missing(true);
    migrator
        .run(&mut *connection)
        .await
        .map_err(|error| StoreError::Migration(error.into()))
}

fn database_error(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}

fn is_code_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation() && error.message().contains("short_code"))
}
