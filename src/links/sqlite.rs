//! Links in an SQLite file: the embedded mode.

mod case;
mod find;
mod index;
mod manage;
mod many;
mod rehearsal;
mod tags;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::time::sleep;

use super::{
    Change, CodeCase, Created, Expiry, IgnoreCaseError, LinkStore, LookUp, NewLink, Note,
    PasswordHash, ShortCode, TargetUrl, Title, Write, case::ByCode, row::Row, store::TargetHash,
    terms::unix_seconds,
};
use crate::{
    db::{DatabaseError, Sqlite},
    owner::Owner,
};

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
    INSERT INTO urls (short_code, original_url, url_sha256, owner) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (url_sha256) DO NOTHING";

/// Unique by `urls_short_code_key`, and by `urls_short_code_nocase_key` if that is there.
const INSERT_OWN: &str = "
    INSERT INTO urls (short_code, original_url, expires_at, max_visits, starts_at, owner,
                      redirect, forward_query, fallback_url, enabled, title, note, tags, password_hash)
    VALUES (?1, ?2, coalesce(unixepoch('subsec') + ?3, ?4), ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT DO NOTHING";

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), once for each code of a JSON array. Then by the primary
/// key, because the code may be a further code of a link.
macro_rules! look_up {
    ($is_named:literal) => {
        concat!(
            "
    SELECT CASE WHEN link.starts_at > unixepoch('subsec') THEN 'early'
                WHEN link.deleted_at IS NOT NULL OR NOT link.enabled THEN 'down'
                WHEN iif(link.hidden, link.ends_at, link.expires_at) <= unixepoch('subsec')
                     OR link.visits >= link.max_visits THEN 'over'
                WHEN link.id IS NOT NULL THEN 'works' END AS state,
           link.original_url, link.redirect, link.forward_query, link.fallback_url,
           link.max_visits IS NOT NULL AS limited, link.password_hash,
           iif(link.hidden, link.ends_at, link.expires_at) - unixepoch('subsec') AS expires_in,
           link.starts_at - unixepoch('subsec') AS starts_in
    FROM json_each(?1) AS asked
    LEFT JOIN urls AS named ON ",
            $is_named,
            "
    LEFT JOIN urls AS link ON link.id = coalesce(named.main_id, named.id)
    ORDER BY asked.key"
        )
    };
}

const LOOK_UP: ByCode = ByCode {
    exact: look_up!("named.short_code = asked.value"),
    folded: look_up!("named.short_code = asked.value COLLATE NOCASE"),
};

/// Uses up one visit, unless others have used up the last in the meantime. By `urls_short_code_key` (or by
/// `urls_short_code_nocase_key`), then by the primary key.
const COUNT_VISIT: ByCode = ByCode {
    exact: "
    UPDATE urls SET visits = visits + 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1) AND visits < max_visits",
    folded: "
    UPDATE urls SET visits = visits + 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1 COLLATE NOCASE) AND visits < max_visits",
};

/// Links in an SQLite file.
pub struct SqliteLinks {
    sqlite: Arc<Sqlite>,
    case: CodeCase,
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
        Self {
            sqlite,
            case: CodeCase::Matters,
        }
    }

    /// The links in this file, whose codes are found by any spelling. Makes the index that this needs, if there is none.
    /// Several processes may do so at once.
    ///
    /// # Errors
    /// [`IgnoreCaseError`] if there are codes that differ only by case, or if the index cannot be made, also because
    /// another process writes to the file for longer than `within`.
    pub async fn ignoring_case(
        sqlite: Arc<Sqlite>,
        within: Duration,
    ) -> Result<Self, IgnoreCaseError> {
        case::ensure_index(&sqlite, within).await?;
        Ok(Self {
            sqlite,
            case: CodeCase::Ignored,
        })
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
    let inserted = if let Some(hash) = &hash {
        let insert = sqlx::query(INSERT_DEDUPLICATED)
            .bind(code.as_str())
            .bind(link.target.as_str())
            .bind(hash.as_slice())
            .bind(link.owner.as_ref().map(Owner::as_str));
        insert.execute(connection).await
    } else {
        let (terms, options) = (&link.terms, &link.options);
        let (expires_in, expires_at) = Expiry::as_seconds(terms.expiry);
        let insert = sqlx::query(INSERT_OWN)
            .bind(code.as_str())
            .bind(link.target.as_str())
            .bind(expires_in)
            .bind(expires_at)
            .bind(terms.max_visits)
            .bind(terms.starts_at.map(unix_seconds))
            .bind(link.owner.as_ref().map(Owner::as_str))
            .bind(options.manner.redirect.stored())
            .bind(options.manner.forward_query)
            .bind(options.fallback.as_ref().map(TargetUrl::as_str))
            .bind(options.enabled)
            .bind(options.labels.title.as_ref().map(Title::as_str))
            .bind(options.labels.note.as_ref().map(Note::as_str))
            .bind(options.labels.tags.to_json())
            .bind(options.password.as_ref().map(PasswordHash::as_str));
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
    fn code_case(&self) -> CodeCase {
        self.case
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, DatabaseError> {
        if link.deduplicated {
            self.sqlite.write(self.insert_deduplicated(link)).await
        } else {
            let created = self.sqlite.write(self.insert_own(link)).await?;
            match &link.in_place_of {
                Some(editor) if created == Created::CodeTaken => {
                    let arguments = (self.case, link, editor);
                    self.sqlite.transact(&arguments, manage::replace).await
                }
                _ => Ok(created),
            }
        }
    }

    async fn insert_all(&self, links: &[NewLink]) -> Result<Vec<Created>, DatabaseError> {
        let arguments = (self.case, links);
        self.sqlite.transact(&arguments, many::insert_all).await
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, DatabaseError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        // JSON would escape no character that a code may have.
        let codes = format!("[\"{}\"]", codes.join("\",\""));
        let look_up = async {
            let mut reader = self.sqlite.reader().await?;
            let look_up = sqlx::query_as(self.case.statement(LOOK_UP)).bind(codes);
            look_up.fetch_all(&mut *reader).await
        };
        let rows: Vec<Row> = self.sqlite.read(look_up).await?;
        Ok(rows.into_iter().map(LookUp::from).collect())
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, DatabaseError> {
        let count = async {
            let mut writer = self.sqlite.writer().await?;
            let count = sqlx::query(self.case.statement(COUNT_VISIT)).bind(code.as_str());
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
        let arguments = (self.case, write);
        self.sqlite.rehearse(&arguments, rehearsal::rehearse).await
    }
}

/// Whether a statement that sets a code has changed a row. If not, another link has the code.
fn was_free(changed: Result<u64, sqlx::Error>) -> Result<bool, sqlx::Error> {
    match changed {
        Ok(rows) => Ok(rows == 1),
        Err(error) if is_code_taken(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// By either of the two indexes on codes.
fn is_code_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation() && error.message().contains("short_code"))
}

#[cfg(test)]
mod tests;
