//! Managing links in an SQLite file.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use super::{Inserted, SqliteLinks, insert, was_free};
use crate::{
    db::{DatabaseError, Ending},
    links::{
        CodeCase, Created, Edit, EditRefusal, Edited, Editor, Expiry, LinkChange, LinkManagement,
        LinkRecord, NewLink, Note, PasswordHash, ShortCode, Tags, TargetUrl, Title, case::ByCode,
        edit::Step, row::RecordRow, terms::unix_seconds,
    },
};

/// What a [`RecordRow`] is read from. The further codes by `urls_main_id_idx`.
macro_rules! record {
    ($condition:literal) => {
        concat!(
            "SELECT id, short_code,
                    (SELECT json_group_array(short_code) FROM (
                        SELECT further.short_code FROM urls AS further WHERE further.main_id = link.id ORDER BY further.id
                    )) AS further_codes,
                    original_url, owner, created_at, starts_at, iif(hidden, ends_at, expires_at) AS expires_at,
                    max_visits, visits, redirect, forward_query, fallback_url, enabled, title, note, tags,
                    password_hash, deleted_at, unixepoch('subsec') AS read_at
             FROM urls AS link
             WHERE ",
            $condition
        )
    };
}

pub(super) use record;

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), then by the primary key.
pub(super) const READ: ByCode = ByCode {
    exact: record!("id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1)"),
    folded: record!(
        "id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1 COLLATE NOCASE)"
    ),
};

/// By `urls_short_code_key` (or by `urls_short_code_nocase_key`), once for each code of a JSON array, then by the primary
/// key.
pub(super) const READ_MANY: ByCode = ByCode {
    exact: record!(
        "id IN (SELECT coalesce(main_id, id) FROM urls WHERE short_code IN (SELECT value FROM json_each(?1)))"
    ),
    folded: record!(
        "id IN (SELECT coalesce(named.main_id, named.id) FROM json_each(?1) AS asked
                JOIN urls AS named ON named.short_code = asked.value COLLATE NOCASE)"
    ),
};

const READ_AGAIN: &str = record!("id = ?1");

/// A pair of parameters for each part: whether it changes, and what it becomes.
///
/// An expiry that stays is written as it stands, so that the trigger `urls_hide_update` leaves it where it is.
const CHANGE: &str = "
    UPDATE urls SET
        original_url = coalesce(?2, original_url),
        starts_at = iif(?3, ?4, starts_at),
        expires_at = iif(?5, coalesce(unixepoch('subsec') + ?6, ?7), expires_at),
        max_visits = iif(?8, ?9, max_visits),
        redirect = iif(?10, ?11, redirect),
        forward_query = coalesce(?12, forward_query),
        fallback_url = iif(?13, ?14, fallback_url),
        enabled = coalesce(?15, enabled),
        title = iif(?16, ?17, title),
        note = iif(?18, ?19, note),
        tags = iif(?20, ?21, tags),
        password_hash = iif(?22, ?23, password_hash)
    WHERE id = ?1";

const DELETE: &str = "UPDATE urls SET deleted_at = unixepoch('subsec') WHERE id = ?1";

const RESTORE: &str = "UPDATE urls SET deleted_at = NULL WHERE id = ?1";

/// Inserts nothing if any link has the code. Unique by the same indexes as a link's main code. A further code has no target of its own.
const ADD_CODE: &str = "
    INSERT INTO urls (short_code, original_url, main_id) VALUES (?1, '', ?2)
    ON CONFLICT DO NOTHING";

/// By `urls_short_code_key`.
const REMOVE_CODE: &str = "DELETE FROM urls WHERE short_code = ?1 AND main_id = ?2";

/// Fails if another link has the code. By the primary key.
const SET_MAIN_CODE: &str = "UPDATE urls SET short_code = ?1 WHERE id = ?2";

/// A statement that deletes nothing would still be a write, once a minute on each node, and fail where nothing can be
/// written. By `urls_deleted_at_idx`.
const IS_TO_PURGE: &str =
    "SELECT EXISTS (SELECT 1 FROM urls WHERE deleted_at < unixepoch('subsec') - ?1)";

/// By `urls_deleted_at_idx`. The further codes go with their link.
const PURGE: &str = "
    DELETE FROM urls WHERE id IN (
        SELECT id FROM urls WHERE deleted_at < unixepoch('subsec') - ?1 ORDER BY deleted_at LIMIT ?2
    )";

/// By the primary key.
const REMOVE: &str = "DELETE FROM urls WHERE id = ?1";

#[async_trait]
impl LinkManagement for SqliteLinks {
    async fn record(&self, code: &ShortCode) -> Result<Option<LinkRecord>, DatabaseError> {
        let read = async {
            let mut reader = self.sqlite.reader().await?;
            read(&mut reader, self.case, code).await
        };
        self.sqlite.read(read).await
    }

    async fn records(&self, codes: &[ShortCode]) -> Result<Vec<LinkRecord>, DatabaseError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        // JSON would escape no character that a code may have.
        let codes = format!("[\"{}\"]", codes.join("\",\""));
        let read = async {
            let mut reader = self.sqlite.reader().await?;
            let read = sqlx::query_as(self.case.statement(READ_MANY)).bind(codes);
            read.fetch_all(&mut *reader).await
        };
        let rows: Vec<RecordRow> = self.sqlite.read(read).await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    }

    async fn edit(&self, edit: &Edit) -> Result<Edited, DatabaseError> {
        let arguments = (self.case, edit);
        self.sqlite.transact(&arguments, edit_link).await
    }

    async fn purge(&self, deleted_for: Duration, at_most: u32) -> Result<u64, DatabaseError> {
        let look = async {
            let mut reader = self.sqlite.reader().await?;
            let look = sqlx::query_scalar(IS_TO_PURGE).bind(deleted_for.as_secs_f64());
            look.fetch_all(&mut *reader).await
        };
        let found: Vec<bool> = self.sqlite.read(look).await?;
        if found.first() != Some(&true) {
            return Ok(0);
        }
        let purge = async {
            let mut writer = self.sqlite.writer().await?;
            let purge = sqlx::query(PURGE)
                .bind(deleted_for.as_secs_f64())
                .bind(at_most);
            purge.execute(&mut *writer).await
        };
        Ok(self.sqlite.write(purge).await?.rows_affected())
    }
}

/// The link that has this code.
async fn read(
    connection: &mut SqliteConnection,
    case: CodeCase,
    code: &ShortCode,
) -> Result<Option<LinkRecord>, sqlx::Error> {
    let rows: Vec<RecordRow> = sqlx::query_as(case.statement(READ))
        .bind(code.as_str())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().next().map(LinkRecord::from))
}

async fn read_again(connection: &mut SqliteConnection, id: i64) -> Result<LinkRecord, sqlx::Error> {
    let rows: Vec<RecordRow> = sqlx::query_as(READ_AGAIN)
        .bind(id)
        .fetch_all(connection)
        .await?;
    let row = rows.into_iter().next();
    row.map(LinkRecord::from).ok_or(sqlx::Error::RowNotFound)
}

/// In a transaction, which no other write comes between.
pub(super) fn edit_link<'c>(
    connection: &'c mut SqliteConnection,
    (case, edit): &'c (CodeCase, &Edit),
) -> BoxFuture<'c, Result<Ending<Edited>, sqlx::Error>> {
    let refused = |why| Ok(Ending::RollBack(Edited::Refused(why)));
    Box::pin(async move {
        let Some(link) = read(connection, *case, &edit.code).await? else {
            return refused(EditRefusal::NotFound);
        };
        let step = match edit.step(&link, *case) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(Ending::RollBack(Edited::Done(Box::new(link)))),
            Err(why) => return refused(why),
        };
        if !take(connection, &link, step).await? {
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
    connection: &mut SqliteConnection,
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
        Step::Respell(code) => return set_main_code(connection, link.id, code).await,
        Step::Rename { code, further } => {
            if let Some(further) = further {
                remove_code(connection, link.id, further).await?;
            }
            if !set_main_code(connection, link.id, code).await? {
                return Ok(false);
            }
            // It was that of this link a moment ago, so it is free.
            return add_code(connection, link.id, &link.code).await;
        }
    }
    Ok(true)
}

async fn change(
    connection: &mut SqliteConnection,
    id: i64,
    change: &LinkChange,
) -> Result<bool, sqlx::Error> {
    let (expires_in, expires_at) = Expiry::as_seconds(change.expiry.value().copied());
    let changed = sqlx::query(CHANGE)
        .bind(id)
        .bind(change.target.as_ref().map(TargetUrl::as_str))
        .bind(change.starts_at.changes())
        .bind(change.starts_at.value().copied().map(unix_seconds))
        .bind(change.expiry.changes())
        .bind(expires_in)
        .bind(expires_at)
        .bind(change.max_visits.changes())
        .bind(change.max_visits.value())
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
        .bind(change.tags.as_ref().and_then(Tags::to_json))
        .bind(change.password.changes())
        .bind(change.password.value().map(PasswordHash::as_str))
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Whether the code was free.
async fn add_code(
    connection: &mut SqliteConnection,
    id: i64,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let add = sqlx::query(ADD_CODE).bind(code.as_str()).bind(id);
    let added = add.execute(connection).await?;
    Ok(added.rows_affected() == 1)
}

/// Whether the code was free.
async fn set_main_code(
    connection: &mut SqliteConnection,
    id: i64,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let set = sqlx::query(SET_MAIN_CODE).bind(code.as_str()).bind(id);
    let set = set.execute(connection).await;
    was_free(set.map(|done| done.rows_affected()))
}

async fn remove_code(
    connection: &mut SqliteConnection,
    id: i64,
    code: &ShortCode,
) -> Result<(), sqlx::Error> {
    let remove = sqlx::query(REMOVE_CODE).bind(code.as_str()).bind(id);
    remove.execute(connection).await.map(drop)
}

/// In a transaction: stores a link in the place of a dead one that has its code, if its editor may do that.
pub(super) fn replace<'c>(
    connection: &'c mut SqliteConnection,
    (case, link, editor): &'c (CodeCase, &NewLink, &Editor),
) -> BoxFuture<'c, Result<Ending<Created>, sqlx::Error>> {
    Box::pin(async move {
        let taken = || Ok(Ending::RollBack(Created::CodeTaken));
        let before = read(connection, *case, &link.code).await?;
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
        if insert(connection, link, &link.code, None).await? != Inserted::Yes {
            return taken();
        }
        Ok(Ending::Commit(Created::Replaced(codes)))
    })
}
