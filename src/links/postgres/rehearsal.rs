//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::{Connection, Executor, PgConnection};

use super::{count_visit, insert_under, manage};
use crate::{
    db::Ending,
    links::{Edit, NewLink, ShortCode, Write, store::TargetHash},
};

/// As `INSERT_DEDUPLICATED`, but tells whether it inserted a row: finding a link that was there before proves nothing.
/// Unique by `urls_short_code_key` and `urls_url_sha256_key`.
const INSERT_DEDUPLICATED: &str = "
    INSERT INTO urls (short_code, original_url, url_sha256) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING";

/// Changes a link that is new. By `urls_short_code_key`.
const TOUCH: &str = "UPDATE urls SET title = 'rehearsal' WHERE short_code = $1";

/// Makes deferred constraints fail now: the write is rolled back before the commit.
const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// As [`LinkStore::rehearse`](crate::links::LinkStore::rehearse). Rolls the write back, which needs no right to delete
/// and announces nothing to other nodes; commits the transaction around it, which waits for what every commit waits
/// for, such as a standby.
pub(super) fn rehearse<'c>(
    connection: &'c mut PgConnection,
    write: &'c Write,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        match write {
            Write::Insert(link) => {
                let unused = ShortCode::unused();
                // The link may exist by now; then a new link of the same kind is tried.
                if !try_insert(&mut transaction, link, &link.code, link.target_hash()).await? {
                    let hash = link.deduplicated.then(rand::random::<TargetHash>);
                    try_insert(&mut transaction, link, &unused, hash).await?;
                }
                if let Some(editor) = &link.in_place_of {
                    let mut attempt = transaction.begin().await?;
                    manage::replace(&mut attempt, &(link, editor)).await?;
                    attempt.execute(CHECK_CONSTRAINTS).await?;
                    attempt.rollback().await?;
                }
            }
            Write::Edit(edit) => try_edit(&mut transaction, edit).await?,
            Write::Visit(code) => {
                let mut attempt = transaction.begin().await?;
                count_visit(&mut attempt, code).await?;
                attempt.execute(CHECK_CONSTRAINTS).await?;
                attempt.rollback().await?;
            }
        }
        transaction.commit().await
    })
}

/// Edits a link and rolls it back.
async fn try_edit(connection: &mut PgConnection, edit: &Edit) -> Result<(), sqlx::Error> {
    let edit = Edit {
        only_if: None,
        ..edit.clone()
    };
    let mut attempt = connection.begin().await?;
    if let Ending::RollBack(_) = manage::edit_link(&mut attempt, &edit).await? {
        // The link may be gone by now; then another one is changed.
        let link = NewLink::any();
        insert_under(&mut attempt, &link, &link.code).await?;
        let touch = sqlx::query(TOUCH).bind(link.code.as_str());
        touch.execute(&mut *attempt).await?;
    }
    attempt.execute(CHECK_CONSTRAINTS).await?;
    attempt.rollback().await
}

/// Inserts a row and rolls it back. Returns whether it was inserted.
async fn try_insert(
    connection: &mut PgConnection,
    link: &NewLink,
    code: &ShortCode,
    hash: Option<TargetHash>,
) -> Result<bool, sqlx::Error> {
    let mut attempt = connection.begin().await?;
    let inserted = match hash {
        Some(hash) => {
            let insert = sqlx::query(INSERT_DEDUPLICATED)
                .bind(code.as_str())
                .bind(link.target.as_str())
                .bind(hash.as_slice());
            insert.execute(&mut *attempt).await?.rows_affected() == 1
        }
        None => insert_under(&mut attempt, link, code).await?,
    };
    if inserted {
        attempt.execute(CHECK_CONSTRAINTS).await?;
    }
    attempt.rollback().await?;
    Ok(inserted)
}
