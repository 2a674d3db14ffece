//! Managing links in Postgres.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{PostgresLinks, insert_under, was_free};
use crate::{
    db::{DatabaseError, Ending},
    links::{
        CodeCase, Created, Edit, EditRefusal, Edited, Editor, Expiry, LinkChange, LinkManagement,
        LinkRecord, NewLink, Note, PasswordHash, ShortCode, TargetUrl, Title, case::ByCode,
        edit::Step, row::RecordRow, terms::unix_seconds,
    },
};

/// What a [`RecordRow`] is read from. The further codes by `urls_main_id_idx`.
macro_rules! record {
    ($condition:literal) => {
        concat!(
            "SELECT id, short_code,
                    (SELECT array_to_json(array_agg(further.short_code ORDER BY further.id))::text
                     FROM urls AS further WHERE further.main_id = link.id) AS further_codes,
                    original_url, owner,
                    extract(epoch FROM created_at)::float8 AS created_at,
                    extract(epoch FROM starts_at)::float8 AS starts_at,
                    CASE WHEN isfinite(ends.at) THEN extract(epoch FROM ends.at)::float8 END AS expires_at,
                    max_visits::bigint AS max_visits, visits::bigint AS visits,
                    redirect, forward_query, fallback_url, enabled, title, note,
                    array_to_json(tags)::text AS tags,
                    password_hash,
                    extract(epoch FROM deleted_at)::float8 AS deleted_at,
                    extract(epoch FROM now())::float8 AS read_at
             FROM urls AS link
             CROSS JOIN LATERAL (SELECT CASE WHEN link.hidden THEN link.ends_at ELSE link.expires_at END) AS ends (at)
             WHERE ",
            $condition
        )
    };
}

pub(super) use record;

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), then by the primary key.
pub(super) const READ: ByCode = ByCode {
    exact: record!("id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = $1)"),
    folded: record!("id = (SELECT coalesce(main_id, id) FROM urls WHERE lower(short_code) = $1)"),
};

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), then by the primary key.
pub(super) const READ_MANY: ByCode = ByCode {
    exact: record!("id IN (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ANY ($1))"),
    folded: record!(
        "id IN (SELECT coalesce(main_id, id) FROM urls WHERE lower(short_code) = ANY ($1))"
    ),
};

const READ_AGAIN: &str = record!("id = $1");

/// Waits for whoever else edits the link. Every edit takes this lock before it reads or writes anything else of the
/// link. By `urls_short_code_key` (or by `urls_short_code_nocase_key`), then by the primary key, which is the same for as
/// long as the link is there.
pub(super) const LOCK: ByCode = ByCode {
    exact: "
    SELECT id FROM urls WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = $1) FOR UPDATE",
    folded: "
    SELECT id FROM urls WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE lower(short_code) = $1) FOR UPDATE",
};

/// A pair of parameters for each part: whether it changes, and what it becomes.
///
/// An expiry that stays is written as it stands, so that the trigger `urls_hide_update` leaves it where it is.
const CHANGE: &str = "
    UPDATE urls SET
        original_url = coalesce($2, original_url),
        starts_at = CASE WHEN $3 THEN to_timestamp($4) ELSE starts_at END,
        expires_at = CASE WHEN $5 THEN coalesce(now() + make_interval(secs => $6), to_timestamp($7)) ELSE expires_at END,
        max_visits = CASE WHEN $8 THEN $9 ELSE max_visits END,
        redirect = CASE WHEN $10 THEN $11 ELSE redirect END,
        forward_query = coalesce($12, forward_query),
        fallback_url = CASE WHEN $13 THEN $14 ELSE fallback_url END,
        enabled = coalesce($15, enabled),
        title = CASE WHEN $16 THEN $17 ELSE title END,
        note = CASE WHEN $18 THEN $19 ELSE note END,
        tags = CASE WHEN $20 THEN $21 ELSE tags END,
        password_hash = CASE WHEN $22 THEN $23 ELSE password_hash END
    WHERE id = $1";

const DELETE: &str = "UPDATE urls SET deleted_at = now() WHERE id = $1";

const RESTORE: &str = "UPDATE urls SET deleted_at = NULL WHERE id = $1";

/// Inserts nothing if any link has the code. Unique by the same indexes as a link's main code. A further code has no target of its own.
const ADD_CODE: &str = "
    INSERT INTO urls (short_code, original_url, main_id) VALUES ($1, '', $2)
    ON CONFLICT DO NOTHING";

/// By `urls_short_code_key`.
const REMOVE_CODE: &str = "DELETE FROM urls WHERE short_code = $1 AND main_id = $2";

/// Changes nothing if any link has the code by now: the transaction sees only what was committed before this statement,
/// and `urls_short_code_key` (or `urls_short_code_nocase_key`) refuses the rest. If case is ignored, it may be another
/// spelling of the main code before.
pub(super) const SET_MAIN_CODE: ByCode = ByCode {
    exact: "
    UPDATE urls SET short_code = $1
    WHERE id = $2 AND NOT EXISTS (SELECT FROM urls WHERE short_code = $1)",
    folded: r#"
    UPDATE urls SET short_code = $1
    WHERE id = $2
      AND NOT EXISTS (SELECT FROM urls WHERE lower(short_code) = lower($1::text COLLATE "C") AND id <> $2)"#,
};

/// A statement that deletes nothing would still be a write, once a minute on each node, and fail where nothing can be
/// written. By `urls_deleted_at_idx`.
const IS_TO_PURGE: &str =
    "SELECT EXISTS (SELECT FROM urls WHERE deleted_at < now() - make_interval(secs => $1))";

/// By `urls_deleted_at_idx`. The further codes go with their link.
const PURGE: &str = "
    DELETE FROM urls WHERE id IN (
        SELECT id FROM urls WHERE deleted_at < now() - make_interval(secs => $1)
        ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )";

/// By the primary key.
const REMOVE: &str = "DELETE FROM urls WHERE id = $1";

#[async_trait]
impl LinkManagement for PostgresLinks {
    async fn record(&self, code: &ShortCode) -> Result<Option<LinkRecord>, DatabaseError> {
        let arguments = (self.case, code);
        self.postgres.pool.read(&arguments, read).await
    }

    async fn records(&self, codes: &[ShortCode]) -> Result<Vec<LinkRecord>, DatabaseError> {
        let arguments = (self.case, codes);
        self.postgres.pool.read(&arguments, read_many).await
    }

    async fn edit(&self, edit: &Edit) -> Result<Edited, DatabaseError> {
        let arguments = (self.case, edit);
        self.postgres.pool.transact(&arguments, edit_link).await
    }

    async fn purge(&self, deleted_for: Duration, at_most: u32) -> Result<u64, DatabaseError> {
        let arguments = (deleted_for.as_secs_f64(), i64::from(at_most));
        let pool = &self.postgres.pool;
        if !pool.read(&deleted_for, is_to_purge).await? {
            return Ok(0);
        }
        pool.write(&arguments, purge).await
    }
}

fn read<'c>(
    connection: &'c mut PgConnection,
    (case, code): &'c (CodeCase, &ShortCode),
) -> BoxFuture<'c, Result<Option<LinkRecord>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<RecordRow> = sqlx::query_as(case.statement(READ))
            .bind(case.fold(code).as_str())
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().next().map(LinkRecord::from))
    })
}

fn read_many<'c>(
    connection: &'c mut PgConnection,
    (case, codes): &'c (CodeCase, &[ShortCode]),
) -> BoxFuture<'c, Result<Vec<LinkRecord>, sqlx::Error>> {
    Box::pin(async move {
        let folded: Vec<_> = codes.iter().map(|code| case.fold(code)).collect();
        let codes: Vec<&str> = folded.iter().map(|code| code.as_str()).collect();
        let rows: Vec<RecordRow> = sqlx::query_as(case.statement(READ_MANY))
            .bind(codes)
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    })
}

async fn read_again(connection: &mut PgConnection, id: i64) -> Result<LinkRecord, sqlx::Error> {
    let rows: Vec<RecordRow> = sqlx::query_as(READ_AGAIN)
        .bind(id)
        .fetch_all(connection)
        .await?;
    let row = rows.into_iter().next();
    row.map(LinkRecord::from).ok_or(sqlx::Error::RowNotFound)
}

/// Locks the link that has this code, and then reads it: what others committed before the lock was granted is seen.
async fn lock(
    connection: &mut PgConnection,
    case: CodeCase,
    code: &ShortCode,
) -> Result<Option<LinkRecord>, sqlx::Error> {
    let folded = case.fold(code);
    let lock = sqlx::query_scalar(case.statement(LOCK)).bind(folded.as_str());
    let locked: Vec<i64> = lock.fetch_all(&mut *connection).await?;
    let Some(id) = locked.into_iter().next() else {
        return Ok(None);
    };
    let link = read_again(connection, id).await?;
    // Somebody may have taken the code away from the link before the lock was granted.
    let has_it = link.codes().any(|own| case.is_same(own, code));
    Ok(has_it.then_some(link))
}

/// In a transaction.
pub(super) fn edit_link<'c>(
    connection: &'c mut PgConnection,
    (case, edit): &'c (CodeCase, &Edit),
) -> BoxFuture<'c, Result<Ending<Edited>, sqlx::Error>> {
    let refused = |why| Ok(Ending::RollBack(Edited::Refused(why)));
    Box::pin(async move {
        let Some(link) = lock(connection, *case, &edit.code).await? else {
            return refused(EditRefusal::NotFound);
        };
        let step = match edit.step(&link, *case) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(Ending::RollBack(Edited::Done(Box::new(link)))),
            Err(why) => return refused(why),
        };
        if !take(connection, *case, &link, step).await? {
            return refused(EditRefusal::CodeTaken);
        }
        let link = read_again(connection, link.id).await?;
        if step.breaks(&link) {
            return refused(EditRefusal::NeverWorks);
        }
        Ok(Ending::Commit(Edited::Done(Box::new(link))))
    })
}

/// `false` if another link has a code that is wanted.
async fn take(
    connection: &mut PgConnection,
    case: CodeCase,
    link: &LinkRecord,
    step: Step<'_>,
) -> Result<bool, sqlx::Error> {
    match step {
        Step::Change(change) => return self::change(connection, link.id, change).await,
        Step::Delete => {
            let delete = sqlx::query(DELETE).bind(link.id);
            delete.execute(connection).await?;
        }
        Step::Restore => {
            let restore = sqlx::query(RESTORE).bind(link.id);
            restore.execute(connection).await?;
        }
        Step::AddCode(code) => return add_code(connection, link.id, code).await,
        Step::RemoveCode(code) => remove_code(connection, link.id, code).await?,
        Step::Respell(code) => return set_main_code(connection, case, link.id, code).await,
        Step::Rename { code, further } => {
            if let Some(further) = further {
                remove_code(connection, link.id, further).await?;
            }
            if !set_main_code(connection, case, link.id, code).await? {
                return Ok(false);
            }
            // It was that of this link a moment ago, so it is free.
            return add_code(connection, link.id, &link.code).await;
        }
    }
    Ok(true)
}

async fn change(
    connection: &mut PgConnection,
    id: i64,
    change: &LinkChange,
) -> Result<bool, sqlx::Error> {
    let (expires_in, expires_at) = Expiry::as_seconds(change.expiry.value().copied());
    let max_visits = change.max_visits.value();
    let max_visits = max_visits.map(|visits| i32::try_from(*visits).unwrap_or(i32::MAX));
    let tags = change.tags.as_ref().map(|tags| tags.as_slice());
    let changed = sqlx::query(CHANGE)
        .bind(id)
        .bind(change.target.as_ref().map(TargetUrl::as_str))
        .bind(change.starts_at.changes())
        .bind(change.starts_at.value().copied().map(unix_seconds))
        .bind(change.expiry.changes())
        .bind(expires_in)
        .bind(expires_at)
        .bind(change.max_visits.changes())
        .bind(max_visits)
        .bind(change.redirect.is_some())
        .bind(change.redirect.and_then(|redirect| redirect.stored()))
        .bind(change.forward_query)
        .bind(change.fallback.changes())
        .bind(change.fallback.value().map(TargetUrl::as_str))
        .bind(change.enabled)
        .bind(change.title.changes())
        .bind(change.title.value().map(Title::as_str))
        .bind(change.note.changes())
        .bind(change.note.value().map(Note::as_str))
        .bind(change.tags.is_some())
        .bind(tags.filter(|tags| !tags.is_empty()))
        .bind(change.password.changes())
        .bind(change.password.value().map(PasswordHash::as_str))
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Whether the code was free.
async fn add_code(
    connection: &mut PgConnection,
    id: i64,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let add = sqlx::query(ADD_CODE).bind(code.as_str()).bind(id);
    let added = add.execute(connection).await?;
    Ok(added.rows_affected() == 1)
}

/// Whether the code was free.
async fn set_main_code(
    connection: &mut PgConnection,
    case: CodeCase,
    id: i64,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let statement = case.statement(SET_MAIN_CODE);
    let set = sqlx::query(statement).bind(code.as_str()).bind(id);
    let set = set.execute(connection).await;
    was_free(set.map(|done| done.rows_affected()))
}

async fn remove_code(
    connection: &mut PgConnection,
    id: i64,
    code: &ShortCode,
) -> Result<(), sqlx::Error> {
    let remove = sqlx::query(REMOVE_CODE).bind(code.as_str()).bind(id);
    remove.execute(connection).await.map(drop)
}

fn is_to_purge<'c>(
    connection: &'c mut PgConnection,
    deleted_for: &'c Duration,
) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        let look = sqlx::query_scalar(IS_TO_PURGE).bind(deleted_for.as_secs_f64());
        let found: Vec<bool> = look.fetch_all(connection).await?;
        Ok(found.first() == Some(&true))
    })
}

fn purge<'c>(
    connection: &'c mut PgConnection,
    (seconds, at_most): &'c (f64, i64),
) -> BoxFuture<'c, Result<u64, sqlx::Error>> {
    Box::pin(async move {
        let purge = sqlx::query(PURGE).bind(seconds).bind(at_most);
        Ok(purge.execute(connection).await?.rows_affected())
    })
}

/// In a transaction: stores a link in the place of a dead one that has its code, if its editor may do that.
pub(super) fn replace<'c>(
    connection: &'c mut PgConnection,
    (case, link, editor): &'c (CodeCase, &NewLink, &Editor),
) -> BoxFuture<'c, Result<Ending<Created>, sqlx::Error>> {
    Box::pin(async move {
        let taken = || Ok(Ending::RollBack(Created::CodeTaken));
        let before = lock(connection, *case, &link.code).await?;
        let mut codes = Vec::new();
        if let Some(before) = &before {
            if !editor.may_replace(before) {
                return taken();
            }
            if case.is_same(&before.code, &link.code) {
                codes.extend(before.codes().cloned());
                let remove = sqlx::query(REMOVE).bind(before.id);
                remove.execute(&mut *connection).await?;
            } else {
                let mut further = before.further_codes.iter();
                let taken = further.find(|code| case.is_same(code, &link.code));
                if let Some(code) = taken {
                    codes.push(code.clone());
                    remove_code(connection, before.id, code).await?;
                }
            }
        }
        if !insert_under(connection, link, &link.code).await? {
            // Another link has got the code in the meantime.
            return taken();
        }
        Ok(Ending::Commit(Created::Replaced(codes)))
    })
}
