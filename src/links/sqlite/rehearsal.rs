//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};

use super::{COUNT_VISIT, Inserted, insert, manage};
use crate::links::{CodeCase, Edit, NewLink, ShortCode, Write, case::ByCode, store::TargetHash};

/// Takes back what was inserted within the same transaction. By `urls_short_code_key`.
const TAKE_BACK: &str = "DELETE FROM urls WHERE short_code = ?1";

/// Changes a link that is new. By `urls_short_code_key`.
const TOUCH: &str = "UPDATE urls SET title = 'rehearsal' WHERE short_code = ?1";

/// Takes back a visit that was counted within the same transaction. By `urls_short_code_key` (or by
/// `urls_short_code_nocase_key`), then by the primary key.
const UNCOUNT_VISIT: ByCode = ByCode {
    exact: "
    UPDATE urls SET visits = visits - 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1)",
    folded: "
    UPDATE urls SET visits = visits - 1
    WHERE id = (SELECT coalesce(main_id, id) FROM urls WHERE short_code = ?1 COLLATE NOCASE)",
};

/// Does a write and takes it back, in the transaction that [`Sqlite::rehearse`](crate::db::Sqlite::rehearse) commits.
pub(super) fn rehearse<'c>(
    transaction: &'c mut SqliteConnection,
    (case, write): &'c (CodeCase, &Write),
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        match write {
            Write::Insert(link) => rehearse_link(transaction, *case, link).await,
            Write::InsertMany(links) => {
                for link in links {
                    rehearse_link(transaction, *case, link).await?;
                }
                Ok(())
            }
            Write::Edit(edit) => rehearse_edit(transaction, *case, edit).await,
            Write::Visit(code) => rehearse_visit(transaction, *case, code).await,
        }
    })
}

async fn rehearse_visit(
    connection: &mut SqliteConnection,
    case: CodeCase,
    code: &ShortCode,
) -> Result<(), sqlx::Error> {
    let count = sqlx::query(case.statement(COUNT_VISIT)).bind(code.as_str());
    let counted = count.execute(&mut *connection).await?;
    if counted.rows_affected() > 0 {
        let uncount = sqlx::query(case.statement(UNCOUNT_VISIT)).bind(code.as_str());
        uncount.execute(connection).await?;
    }
    Ok(())
}

/// An edit has too many parts to be taken back one by one, so it is rolled back. Then a link that is new is changed and
/// removed, because a rollback proves nothing about the commit.
async fn rehearse_edit(
    connection: &mut SqliteConnection,
    case: CodeCase,
    edit: &Edit,
) -> Result<(), sqlx::Error> {
    let edit = Edit {
        only_if: None,
        ..edit.clone()
    };
    let mut attempt = connection.begin().await?;
    manage::edit_link(&mut attempt, &(case, &edit)).await?;
    attempt.rollback().await?;
    let link = NewLink::any();
    insert(&mut *connection, &link, &link.code, None).await?;
    for statement in [TOUCH, TAKE_BACK] {
        let statement = sqlx::query(statement).bind(link.code.as_str());
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn rehearse_link(
    connection: &mut SqliteConnection,
    case: CodeCase,
    link: &NewLink,
) -> Result<(), sqlx::Error> {
    rehearse_insert(connection, link).await?;
    let Some(editor) = &link.in_place_of else {
        return Ok(());
    };
    let mut attempt = connection.begin().await?;
    manage::replace(&mut attempt, &(case, link, editor)).await?;
    attempt.rollback().await
}

async fn rehearse_insert(
    connection: &mut SqliteConnection,
    link: &NewLink,
) -> Result<(), sqlx::Error> {
    let unused = ShortCode::unused();
    let hash = link.target_hash();
    // The link may exist by now; then a new link of the same kind is tried.
    let other_hash = hash.map(|_| rand::random::<TargetHash>());
    for (code, hash) in [(&link.code, hash), (&unused, other_hash)] {
        if insert(&mut *connection, link, code, hash).await? == Inserted::Yes {
            let take_back = sqlx::query(TAKE_BACK).bind(code.as_str());
            take_back.execute(&mut *connection).await?;
            break;
        }
    }
    Ok(())
}
