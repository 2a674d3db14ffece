//! Links in an SQLite file: the embedded mode.

mod rehearsal;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tokio::time::sleep;

use super::{
    Change, Created, Link, LinkStore, LookUp, NewLink, ShortCode, Terms, Write, store::TargetHash,
};
use crate::db::{DatabaseError, Sqlite};

/// Between looks at whether another process has changed the links.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// By `urls_url_sha256_key`.
const FIND_DEDUPLICATED: &str = "SELECT short_code FROM urls WHERE url_sha256 = ?1";

/// Inserts nothing when the target has a deduplicated link already. Unique by `urls_url_sha256_key` and
/// `urls_short_code_key`.
///
/// Has no RETURNING: with it, the driver would stop at the row it wants and reset the statement. That would commit it,
/// but hide whether the commit succeeded, and the write-ahead log would never be folded into the file.
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

/// Links in an SQLite file.
pub struct SqliteLinks {
    sqlite: Arc<Sqlite>,
}

/// What became of a row that was to be inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inserted {
    /// It is inserted, and committed unless a transaction is open.
    Yes,
    /// Another link is the deduplicated link of its target.
    TargetKnown,
    CodeTaken,
}

impl SqliteLinks {
    /// The links in this file.
    pub fn new(sqlite: Arc<Sqlite>) -> Self {
        Self { sqlite }
    }

    async fn insert_deduplicated(&self, link: &NewLink) -> Result<Created, sqlx::Error> {
        let hash = link.target_hash();
        loop {
            let known: Vec<String> = sqlx::query_scalar(FIND_DEDUPLICATED)
                .bind(hash.as_ref().map(<[u8; 32]>::as_slice))
                .fetch_all(&mut *self.sqlite.reader().await?)
                .await?;
            if let Some(code) = known.into_iter().next() {
                return Ok(Created::Stored(ShortCode::from_store(code)));
            }
            let mut writer = self.sqlite.writer().await?;
            match insert(&mut writer, link, &link.code, hash).await? {
                Inserted::Yes => return Ok(Created::Stored(link.code.clone())),
                // Another request was faster: the next look finds its link.
                Inserted::TargetKnown => {}
                Inserted::CodeTaken => return Ok(Created::CodeTaken),
            }
        }
    }

    async fn insert_own(&self, link: &NewLink) -> Result<Created, sqlx::Error> {
        let mut writer = self.sqlite.writer().await?;
        Ok(match insert(&mut writer, link, &link.code, None).await? {
            Inserted::Yes => Created::Stored(link.code.clone()),
            Inserted::TargetKnown | Inserted::CodeTaken => Created::CodeTaken,
        })
    }
}

/// Inserts a link under a code, to be found by the hash if it is deduplicated. `execute` runs a statement to its end,
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
impl LinkStore for SqliteLinks {
    async fn insert(&self, link: &NewLink) -> Result<Created, DatabaseError> {
        if link.deduplicated {
            self.sqlite.write(self.insert_deduplicated(link)).await
        } else {
            self.sqlite.write(self.insert_own(link)).await
        }
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, DatabaseError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        // JSON would escape no character that a code may have.
        let codes = format!("[\"{}\"]", codes.join("\",\""));
        let look_up = async {
            let mut reader = self.sqlite.reader().await?;
            let look_up = sqlx::query(LOOK_UP).bind(codes);
            look_up.fetch_all(&mut *reader).await
        };
        let rows = self.sqlite.read(look_up).await?;
        let found: Result<_, _> = rows.iter().map(found).collect();
        Ok(found?)
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, DatabaseError> {
        let count = async {
            let mut writer = self.sqlite.writer().await?;
            let count = sqlx::query(COUNT_VISIT).bind(code.as_str());
            count.execute(&mut *writer).await
        };
        Ok(self.sqlite.write(count).await?.rows_affected() == 1)
    }

    /// Other processes may write to the file: an administrator with the `sqlite3` shell, mostly.
    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> DatabaseError {
        let mut seen = None;
        loop {
            let version = match self.sqlite.data_version().await {
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

    async fn rehearse(&self, write: &Write) -> Result<(), DatabaseError> {
        if self.sqlite.is_in_memory() {
            return self.ping().await;
        }
        self.sqlite.rehearse(write, rehearsal::rehearse).await
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

fn is_code_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation() && error.message().contains("short_code"))
}

#[cfg(test)]
mod tests;
