//! Links in Postgres, where several nodes may use them.

mod case;
mod find;
mod index;
mod manage;
mod many;
mod rehearsal;
mod tags;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{
    Change, CodeCase, Created, Expiry, IgnoreCaseError, LinkStore, LookUp, NewLink, Note,
    PasswordHash, ShortCode, TargetUrl, Title, Write,
    case::{ByCode, INDEX},
    row::Row,
    terms::unix_seconds,
};
use crate::{
    db::{DatabaseError, Postgres},
    owner::Owner,
};

/// The channel on which the table's triggers (`migrations/postgres`) announce the codes of links that have changed, or
/// [`EVERYTHING`]. Every node listens on it.
const CHANNEL: &str = "shunt_links";

/// The payload that stands for all codes. No code has this name.
const EVERYTHING: &str = "*";

/// Returns the code of the deduplicated link to this target, old or new. One round trip, and a repeated URL writes
/// nothing. Both look-ups use `urls_url_sha256_key`. Returns no row if another link has the code, and when another
/// session commits the same target between our snapshot and our insert: then the next attempt sees it.
const INSERT_DEDUPLICATED: &str = "
    WITH known AS (SELECT short_code FROM urls WHERE url_sha256 = $3),
    made AS (
        INSERT INTO urls (short_code, original_url, url_sha256, owner)
        SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT DO NOTHING
        RETURNING short_code
    )
    SELECT short_code FROM known UNION ALL SELECT short_code FROM made";

/// Unique by `urls_short_code_key`, and by `urls_short_code_nocase_key` if that is there.
const INSERT_OWN: &str = "
    INSERT INTO urls (short_code, original_url, expires_at, max_visits, starts_at, owner,
                      redirect, forward_query, fallback_url, enabled, title, note, tags, password_hash)
    VALUES ($1, $2, coalesce(now() + make_interval(secs => $3), to_timestamp($4)), $5, to_timestamp($6), $7,
            $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT DO NOTHING";

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), once for each code: the LIMIT keeps the planner from
/// joining the whole table to a list whose length it has to guess. Then by the primary key, because the code may be a
/// further code of a link.
macro_rules! look_up {
    ($is_named:literal) => {
        concat!("
    SELECT state, original_url, redirect, forward_query, fallback_url, limited, password_hash,
           expires_in, starts_in
    FROM unnest($1) WITH ORDINALITY AS asked (code, number)
    LEFT JOIN LATERAL (
        SELECT CASE WHEN link.starts_at > now() THEN 'early'
                    WHEN link.deleted_at IS NOT NULL OR NOT link.enabled THEN 'down'
                    WHEN ends.at <= now() OR link.visits >= link.max_visits THEN 'over'
                    ELSE 'works' END AS state,
               link.original_url, link.redirect, link.forward_query, link.fallback_url,
               link.max_visits IS NOT NULL AS limited, link.password_hash,
               CASE WHEN isfinite(ends.at) THEN extract(epoch FROM ends.at - now())::float8 END AS expires_in,
               CASE WHEN isfinite(link.starts_at)
                    THEN extract(epoch FROM link.starts_at - now())::float8 END AS starts_in
        FROM urls AS named
        JOIN urls AS link ON link.id = coalesce(named.main_id, named.id)
        CROSS JOIN LATERAL (SELECT CASE WHEN link.hidden THEN link.ends_at ELSE link.expires_at END) AS ends (at)
        WHERE ", $is_named, " LIMIT 1
    ) AS found ON true
    ORDER BY number")
    };
}

const LOOK_UP: ByCode = ByCode {
    exact: look_up!("named.short_code = asked.code"),
    folded: look_up!("lower(named.short_code) = asked.code"),
};

/// Uses up one visit, unless others have used up the last in the meantime. By `urls_short_code_key` (or by
/// `urls_short_code_nocase_key`), then by the primary key.
const COUNT_VISIT: ByCode = ByCode {
    exact: "
    UPDATE urls SET visits = visits + 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = $1) AND visits < max_visits",
    folded: "
    UPDATE urls SET visits = visits + 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE lower(short_code) = $1) AND visits < max_visits",
};

/// Links in Postgres.
pub struct PostgresLinks {
    postgres: Arc<Postgres>,
    case: CodeCase,
}

impl PostgresLinks {
    /// The links in this database.
    pub fn new(postgres: Arc<Postgres>) -> Self {
        Self {
            postgres,
            case: CodeCase::Matters,
        }
    }

    /// The links in this database, whose codes are found by any spelling. Makes the index that this needs, if there is
    /// none, while other nodes go on reading and writing. Several nodes may do so at once.
    ///
    /// # Errors
    /// [`IgnoreCaseError`] if there are codes that differ only by case, or if the index cannot be made `within` this
    /// time.
    pub async fn ignoring_case(
        postgres: Arc<Postgres>,
        within: Duration,
    ) -> Result<Self, IgnoreCaseError> {
        case::ensure_index(&postgres, within).await?;
        Ok(Self {
            postgres,
            case: CodeCase::Ignored,
        })
    }

    /// Warns if a node has left an index that is not complete when it could not begin to ignore case.
    pub async fn warn_if_index_is_incomplete(&self) {
        case::warn_if_incomplete(&self.postgres).await;
    }
}

#[async_trait]
impl LinkStore for PostgresLinks {
    fn code_case(&self) -> CodeCase {
        self.case
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, DatabaseError> {
        let pool = &self.postgres.pool;
        if link.deduplicated {
            pool.write_idempotent(link, insert_deduplicated).await
        } else {
            let created = pool.write(link, insert_own).await?;
            match &link.in_place_of {
                Some(editor) if created == Created::CodeTaken => {
                    let arguments = (self.case, link, editor);
                    pool.transact(&arguments, manage::replace).await
                }
                _ => Ok(created),
            }
        }
    }

    async fn insert_all(&self, links: &[NewLink]) -> Result<Vec<Created>, DatabaseError> {
        let arguments = (self.case, links);
        let pool = &self.postgres.pool;
        pool.transact(&arguments, many::insert_all).await
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, DatabaseError> {
        self.postgres.pool.read(&(self.case, codes), look_up).await
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, DatabaseError> {
        let arguments = (self.case, code);
        self.postgres.pool.write(&arguments, count_visit).await
    }

    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> DatabaseError {
        let mut listener = match self.postgres.listen(CHANNEL).await {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        report(Change::Watching);
        loop {
            match listener.next().await {
                Ok(payload) if payload == EVERYTHING => report(Change::Everything),
                Ok(payload) => {
                    if let Some(code) = ShortCode::parse(&payload) {
                        report(Change::Link(code));
                    }
                }
                Err(error) => return error,
            }
        }
    }

    async fn rehearse(&self, write: &Write) -> Result<(), DatabaseError> {
        let pool = &self.postgres.pool;
        let arguments = (self.case, write);
        pool.write_idempotent(&arguments, rehearsal::rehearse).await
    }
}

/// Reads the answer to its end: after the row, Postgres may still report that the commit has failed, such as at a
/// deferred constraint. Makes no statement fail: that would end the transaction that it may be a part of.
fn insert_deduplicated<'c>(
    connection: &'c mut PgConnection,
    link: &'c NewLink,
) -> BoxFuture<'c, Result<Created, sqlx::Error>> {
    Box::pin(async move {
        let hash = link.target_hash();
        for _ in 0..2 {
            let codes: Vec<String> = sqlx::query_scalar(INSERT_DEDUPLICATED)
                .bind(link.code.as_str())
                .bind(link.target.as_str())
                .bind(hash.as_ref().map(<[u8; 32]>::as_slice))
                .bind(link.owner.as_ref().map(Owner::as_str))
                .fetch_all(&mut *connection)
                .await?;
            if let Some(code) = codes.into_iter().next() {
                return Ok(Created::Stored(ShortCode::from_store(code)));
            }
        }
        // The target is no other link's, or the second attempt would have seen that link.
        Ok(Created::CodeTaken)
    })
}

fn insert_own<'c>(
    connection: &'c mut PgConnection,
    link: &'c NewLink,
) -> BoxFuture<'c, Result<Created, sqlx::Error>> {
    Box::pin(async move {
        Ok(if insert_under(connection, link, &link.code).await? {
            Created::Stored(link.code.clone())
        } else {
            Created::CodeTaken
        })
    })
}

/// Whether the code was free.
async fn insert_under(
    connection: &mut PgConnection,
    link: &NewLink,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let (terms, options) = (&link.terms, &link.options);
    let (expires_in, expires_at) = Expiry::as_seconds(terms.expiry);
    let tags = options.labels.tags.as_slice();
    let inserted = sqlx::query(INSERT_OWN)
        .bind(code.as_str())
        .bind(link.target.as_str())
        .bind(expires_in)
        .bind(expires_at)
        .bind(
            terms
                .max_visits
                .map(|visits| i32::try_from(visits).unwrap_or(i32::MAX)),
        )
        .bind(terms.starts_at.map(unix_seconds))
        .bind(link.owner.as_ref().map(Owner::as_str))
        .bind(options.manner.redirect.stored())
        .bind(options.manner.forward_query)
        .bind(options.fallback.as_ref().map(TargetUrl::as_str))
        .bind(options.enabled)
        .bind(options.labels.title.as_ref().map(Title::as_str))
        .bind(options.labels.note.as_ref().map(Note::as_str))
        .bind((!tags.is_empty()).then_some(tags))
        .bind(options.password.as_ref().map(PasswordHash::as_str))
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

fn look_up<'c>(
    connection: &'c mut PgConnection,
    (case, codes): &'c (CodeCase, &[ShortCode]),
) -> BoxFuture<'c, Result<Vec<LookUp>, sqlx::Error>> {
    Box::pin(async move {
        let folded: Vec<_> = codes.iter().map(|code| case.fold(code)).collect();
        let codes: Vec<&str> = folded.iter().map(|code| code.as_str()).collect();
        let rows: Vec<Row> = sqlx::query_as(case.statement(LOOK_UP))
            .bind(codes)
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(LookUp::from).collect())
    })
}

/// Whether there was a visit left.
fn count_visit<'c>(
    connection: &'c mut PgConnection,
    (case, code): &'c (CodeCase, &ShortCode),
) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        let counted = sqlx::query(case.statement(COUNT_VISIT))
            .bind(case.fold(code).as_str())
            .execute(connection)
            .await?;
        Ok(counted.rows_affected() == 1)
    })
}

/// Whether a statement that changes a code has changed a row. If not, another link has the code. If that is what the
/// statement failed at, its transaction can only be rolled back.
fn was_free(changed: Result<u64, sqlx::Error>) -> Result<bool, sqlx::Error> {
    match changed {
        Ok(rows) => Ok(rows == 1),
        Err(error) if is_code_taken(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The second index is there if a node ignores case, or has done so.
fn is_code_taken(error: &sqlx::Error) -> bool {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    constraint.is_some_and(|name| ["urls_short_code_key", INDEX].contains(&name))
}
