//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::{Connection, Executor, PgConnection};

use super::{count_visit, insert_under, manage};
use crate::{
    db::Ending,
    links::{CodeCase, Edit, NewLink, ShortCode, Write, store::TargetHash},
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
    (case, write): &'c (CodeCase, &Write),
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        match write {
            Write::Insert(link) => try_link(&mut transaction, *case, link).await?,
            Write::InsertMany(links) => {
                for link in links {
                    try_link(&mut transaction, *case, link).await?;
                }
            }
            Write::Edit(edit) => try_edit(&mut transaction, *case, edit).await?,
            Write::Visit(code) => {
                let mut attempt = transaction.begin().await?;
                count_visit(&mut attempt, &(*case, code)).await?;
                attempt.execute(CHECK_CONSTRAINTS).await?;
                attempt.rollback().await?;
            }
        }
        transaction.commit().await
    })
}

/// Stores a link and rolls it back.
async fn try_link(
    connection: &mut PgConnection,
    case: CodeCase,
    link: &NewLink,
) -> Result<(), sqlx::Error> {
    let unused = ShortCode::unused();
    // The link may exist by now; then a new link of the same kind is tried.
    if !try_insert(connection, link, &link.code, link.target_hash()).await? {
        let hash = link.deduplicated.then(rand::random::<TargetHash>);
        try_insert(connection, link, &unused, hash).await?;
    }
    if let Some(editor) = &link.in_place_of {
        let mut attempt = connection.begin().await?;
        let replaced = manage::replace(&mut attempt, &(case, link, editor)).await?;
        // If the code was taken, the transaction may be at its end already.
        if let Ending::Commit(_) = replaced {
            attempt.execute(CHECK_CONSTRAINTS).await?;
        }
        attempt.rollback().await?;
    }
    Ok(())
}

/// Edits a link and rolls it back.
async fn try_edit(
    connection: &mut PgConnection,
    case: CodeCase,
    edit: &Edit,
) -> Result<(), sqlx::Error> {
    let edit = Edit {
        only_if: None,
        ..edit.clone()
    };
    let mut attempt = connection.begin().await?;
    let edited = manage::edit_link(&mut attempt, &(case, &edit)).await?;
    if let Ending::Commit(_) = edited {
        attempt.execute(CHECK_CONSTRAINTS).await?;
    }
    attempt.rollback().await?;
    if let Ending::RollBack(_) = edited {
        // The link may be gone by now; then another one is changed.
        let mut attempt = connection.begin().await?;
        let link = NewLink::any();
        insert_under(&mut attempt, &link, &link.code).await?;
        let touch = sqlx::query(TOUCH).bind(link.code.as_str());
        touch.execute(&mut *attempt).await?;
        attempt.execute(CHECK_CONSTRAINTS).await?;
        attempt.rollback().await?;
    }
    Ok(())
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
