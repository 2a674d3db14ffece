//! Links in Postgres, where several nodes may use them.

mod manage;
mod rehearsal;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{
    Change, Created, Expiry, LinkStore, LookUp, NewLink, Note, ShortCode, TargetUrl, Title, Write,
    row::Row, terms::unix_seconds,
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
/// nothing. Both look-ups use `urls_url_sha256_key`. Returns no row when another session commits the same target
/// between our snapshot and our insert: then the next attempt sees it.
const INSERT_DEDUPLICATED: &str = "
    WITH known AS (SELECT short_code FROM urls WHERE url_sha256 = $3),
    made AS (
        INSERT INTO urls (short_code, original_url, url_sha256, owner)
        SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT (url_sha256) DO NOTHING
        RETURNING short_code
    )
    SELECT short_code FROM known UNION ALL SELECT short_code FROM made";

/// Unique by `urls_short_code_key`.
const INSERT_OWN: &str = "
    INSERT INTO urls (short_code, original_url, expires_at, max_visits, starts_at, owner,
                      redirect, forward_query, fallback_url, enabled, title, note, tags)
    VALUES ($1, $2, coalesce(now() + make_interval(secs => $3), to_timestamp($4)), $5, to_timestamp($6), $7,
            $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (short_code) DO NOTHING";

/// By `urls_short_code_key`, once for each code: the LIMIT keeps the planner from joining the whole table to a list
/// whose length it has to guess. Then by the primary key, because the code may be a further code of a link.
///
/// A link with a password does not work: only a later release knows how to ask for it.
const LOOK_UP: &str = "
    SELECT state, original_url, redirect, forward_query, fallback_url, limited, expires_in, starts_in
    FROM unnest($1) WITH ORDINALITY AS asked (code, number)
    LEFT JOIN LATERAL (
        SELECT CASE WHEN link.starts_at > now() THEN 'early'
                    WHEN link.deleted_at IS NOT NULL OR NOT link.enabled OR link.password_hash IS NOT NULL THEN 'down'
                    WHEN ends.at <= now() OR link.visits >= link.max_visits THEN 'over'
                    ELSE 'works' END AS state,
               link.original_url, link.redirect, link.forward_query, link.fallback_url,
               link.max_visits IS NOT NULL AS limited,
               CASE WHEN isfinite(ends.at) THEN extract(epoch FROM ends.at - now())::float8 END AS expires_in,
               CASE WHEN isfinite(link.starts_at)
                    THEN extract(epoch FROM link.starts_at - now())::float8 END AS starts_in
        FROM urls AS named
        JOIN urls AS link ON link.id = coalesce(named.main_id, named.id)
        CROSS JOIN LATERAL (SELECT CASE WHEN link.hidden THEN link.ends_at ELSE link.expires_at END) AS ends (at)
        WHERE named.short_code = asked.code LIMIT 1
    ) AS found ON true
    ORDER BY number";

/// Uses up one visit, unless others have used up the last in the meantime. By `urls_short_code_key`, then by the primary
/// key.
const COUNT_VISIT: &str = "
    UPDATE urls SET visits = visits + 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = $1) AND visits < max_visits";

/// Links in Postgres.
pub struct PostgresLinks {
    postgres: Arc<Postgres>,
}

impl PostgresLinks {
    /// The links in this database.
    pub fn new(postgres: Arc<Postgres>) -> Self {
        Self { postgres }
    }
}

#[async_trait]
impl LinkStore for PostgresLinks {
    async fn insert(&self, link: &NewLink) -> Result<Created, DatabaseError> {
        let pool = &self.postgres.pool;
        if link.deduplicated {
            pool.write_idempotent(link, insert_deduplicated).await
        } else {
            let created = pool.write(link, insert_own).await?;
            match &link.in_place_of {
                Some(editor) if created == Created::CodeTaken => {
                    pool.transact(&(link, editor), manage::replace).await
                }
                _ => Ok(created),
            }
        }
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, DatabaseError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        self.postgres.pool.read(&codes[..], look_up).await
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, DatabaseError> {
        self.postgres.pool.write(code, count_visit).await
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
        pool.write_idempotent(write, rehearsal::rehearse).await
    }
}

/// Reads the answer to its end: after the row, Postgres may still report that the commit has failed, such as at a
/// deferred constraint.
fn insert_deduplicated<'c>(
    connection: &'c mut PgConnection,
    link: &'c NewLink,
) -> BoxFuture<'c, Result<Created, sqlx::Error>> {
    Box::pin(async move {
        let hash = link.target_hash();
        loop {
            let codes: Result<Vec<String>, _> = sqlx::query_scalar(INSERT_DEDUPLICATED)
                .bind(link.code.as_str())
                .bind(link.target.as_str())
                .bind(hash.as_ref().map(<[u8; 32]>::as_slice))
                .bind(link.owner.as_ref().map(Owner::as_str))
                .fetch_all(&mut *connection)
                .await;
            match codes.map(|codes| codes.into_iter().next()) {
                Ok(Some(code)) => return Ok(Created::Stored(ShortCode::from_store(code))),
                Ok(None) => {}
                Err(error) if is_code_taken(&error) => return Ok(Created::CodeTaken),
                Err(error) => return Err(error),
            }
        }
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
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

fn look_up<'c>(
    connection: &'c mut PgConnection,
    codes: &'c [&str],
) -> BoxFuture<'c, Result<Vec<LookUp>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(LOOK_UP)
            .bind(codes)
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(LookUp::from).collect())
    })
}

/// Whether there was a visit left.
fn count_visit<'c>(
    connection: &'c mut PgConnection,
    code: &'c ShortCode,
) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        let counted = sqlx::query(COUNT_VISIT)
            .bind(code.as_str())
            .execute(connection)
            .await?;
        Ok(counted.rows_affected() == 1)
    })
}

fn is_code_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some("urls_short_code_key"))
}
