//! Links in an SQLite file: the embedded mode.

#[path = "../db/sqlite/connections.rs"]
mod connections;
#[path = "../db/sqlite/content.rs"]
mod content;
#[path = "../db/sqlite/damage.rs"]
mod damage;
#[path = "../db/sqlite/file.rs"]
mod file;
mod rehearsal;

use std::{path::Path, str::FromStr, time::Duration};

use async_trait::async_trait;
use futures_util::future::join3;
use sqlx::{
    Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tokio::time::{Instant, sleep, timeout};

use self::{
    connections::{Connections, Writer},
    damage::Damage,
};
use super::{
    Change, Created, Link, LinkStore, LookUp, NewLink, ShortCode, StartUp, StoreError, StoreUsage,
    Terms, Write, store::TargetHash,
};

/// Between attempts to open a file that another process is just creating.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Between looks at whether another process has changed the file, or removed it.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// By `urls_url_sha256_key`.
const FIND_DEDUPLICATED: &str = "SELECT short_code FROM urls WHERE url_sha256 = ?1";

/// Inserts nothing when the target has a shared link already. Unique by `urls_url_sha256_key` and `urls_short_code_key`.
///
/// Without RETURNING: a statement that is not run to its end, because the row that was wanted has come, is committed by
/// resetting it, where nobody sees how that went, and the write-ahead log is never folded into the file.
const INSERT_DEDUPLICATED: &str = "
    INSERT INTO urls (short_code, original_url, url_sha256) VALUES (?1, ?2, ?3)
    ON CONFLICT (url_sha256) DO NOTHING";

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
    connections: Connections,
    damage: Damage,
    timeout: Duration,
}

/// What became of a row that was to be inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inserted {
    /// It is there; once the transaction is committed, which it is by itself if there is no larger one.
    Yes,
    /// Another link is the shared one of its target.
    TargetKnown,
    CodeTaken,
}

impl SqliteStore {
    /// Opens the file, creating it if need be, and brings the tables up to date; several processes may do so
    /// at once.
    ///
    /// # Errors
    /// [`StoreError`] with the last cause.
    pub async fn open(options: &SqliteOptions, start_up: StartUp) -> Result<Self, StoreError> {
        let deadline = Instant::now() + start_up.within.min(options.timeout);
        let writer = Writer::new(options);
        while let Err(error) = prepare(&writer).await {
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

    /// Runs something that writes. What it has written is in the file that restarts and backups read, or this fails.
    async fn write<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.connections.may_write()?;
        self.damage.known()?;
        let written = self.within(work).await;
        // Also if it failed: that may be why.
        self.connections.check_files().await?;
        if let Err(error) = &written
            && !self.connections.are_in_memory()
        {
            self.damage.note(error);
        }
        written
    }

    async fn insert_deduplicated(&self, link: &NewLink) -> Result<Created, sqlx::Error> {
        let hash = link.target_hash();
        loop {
            let known: Vec<String> = sqlx::query_scalar(FIND_DEDUPLICATED)
                .bind(hash.as_ref().map(<[u8; 32]>::as_slice))
                .fetch_all(&mut *self.connections.reader().await?)
                .await?;
            if let Some(code) = known.into_iter().next() {
                return Ok(Created::Stored(ShortCode::from_store(code)));
            }
            let mut writer = self.connections.writer().await?;
            match insert(&mut writer, link, &link.code, hash).await? {
                Inserted::Yes => return Ok(Created::Stored(link.code.clone())),
                // Somebody else was faster: the next look finds it.
                Inserted::TargetKnown => {}
                Inserted::CodeTaken => return Ok(Created::CodeTaken),
            }
        }
    }

    async fn insert_own(&self, link: &NewLink) -> Result<Created, sqlx::Error> {
        let mut writer = self.connections.writer().await?;
        Ok(match insert(&mut writer, link, &link.code, None).await? {
            Inserted::Yes => Created::Stored(link.code.clone()),
            Inserted::TargetKnown | Inserted::CodeTaken => Created::CodeTaken,
        })
    }
}

/// Inserts a link under a code, to be found by the hash if it is shared. `execute` runs a statement to its end, which is
/// where SQLite commits it.
async fn insert(
    connection: &mut SqliteConnection,
    link: &NewLink,
    code: &ShortCode,
    hash: Option<TargetHash>,
) -> Result<Inserted, sqlx::Error> {
    let Terms {
        expires_in,
        max_visits,
    } = link.terms;
    let inserted = if let Some(hash) = &hash {
        let insert = sqlx::query(INSERT_DEDUPLICATED)
            .bind(code.as_str())
            .bind(link.target.as_str())
            .bind(hash.as_slice());
        insert.execute(connection).await
    } else {
        let insert = sqlx::query(INSERT_OWN)
            .bind(code.as_str())
            .bind(link.target.as_str())
            .bind(expires_in.map(|duration| duration.as_secs_f64()))
            .bind(max_visits);
        insert.execute(connection).await
    };
    match inserted {
        Ok(done) if done.rows_affected() == 1 => Ok(Inserted::Yes),
        Ok(_) if hash.is_some() => Ok(Inserted::TargetKnown),
        Ok(_) => Ok(Inserted::CodeTaken),
        Err(error) if is_code_taken(&error) => Ok(Inserted::CodeTaken),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl LinkStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, StoreError> {
        if link.deduplicated {
            self.write(self.insert_deduplicated(link)).await
        } else {
            self.write(self.insert_own(link)).await
        }
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, StoreError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        // Codes have no character that JSON would escape.
        let codes = format!("[\"{}\"]", codes.join("\",\""));
        let look_up = async {
            let mut reader = self.connections.reader().await?;
            let look_up = sqlx::query(LOOK_UP).bind(codes);
            look_up.fetch_all(&mut *reader).await
        };
        let rows = self.within(look_up).await?;
        let found: Result<_, _> = rows.iter().map(found).collect();
        found.map_err(database_error)
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, StoreError> {
        let count = async {
            let mut writer = self.connections.writer().await?;
            let count = sqlx::query(COUNT_VISIT).bind(code.as_str());
            count.execute(&mut *writer).await
        };
        Ok(self.write(count).await?.rows_affected() == 1)
    }

    /// Who else writes to the file is another process: an administrator with the `sqlite3` shell, mostly. SQLite does
    /// not say what was changed, only that something was.
    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> StoreError {
        let mut seen = None;
        loop {
            let version = async {
                // Of one connection always, and the one that writes: its own commits do not count as changes. The numbers
                // of two connections say nothing about each other.
                let mut writer = self.connections.writer().await?;
                let number = self.connections.writer_number();
                let versions: Vec<i64> = sqlx::query_scalar("PRAGMA data_version")
                    .fetch_all(&mut *writer)
                    .await?;
                Ok((number, versions.first().copied()))
            };
            let version = match self.within(version).await {
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

    async fn rehearse(&self, write: &Write) -> Result<(), StoreError> {
        if self.connections.are_in_memory() {
            // Its only connection must not be closed, which a rehearsal that fails does.
            return self.ping().await;
        }
        // They may be back.
        self.connections.check_files().await?;
        self.write(rehearsal::rehearse(&self.connections, write))
            .await
    }

    async fn maintain(&self, trouble: &(dyn Fn(StoreError) + Send + Sync)) {
        let watch_files = async {
            loop {
                sleep(WATCH_INTERVAL).await;
                if let Err(error) = self.connections.check_files().await {
                    trouble(error);
                }
            }
        };
        let look_for_damage = self.damage.look(&self.connections);
        join3(watch_files, self.connections.bound_log(), look_for_damage).await;
    }

    fn is_networked(&self) -> bool {
        false
    }

    fn usage(&self) -> StoreUsage {
        self.connections.usage()
    }

    /// Folds the write-ahead log into the file.
    async fn close(&self) {
        self.connections.close().await;
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

async fn prepare(writer: &Writer) -> Result<(), StoreError> {
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

#[cfg(test)]
mod tests;
