//! Several links in one transaction.

use futures_util::future::BoxFuture;
use sqlx::{Connection, PgConnection};

use super::{insert_deduplicated, insert_own, manage};
use crate::{
    db::Ending,
    links::{CodeCase, Created, NewLink, store::in_order_of_locks},
};

/// In a transaction: as [`LinkStore::insert_all`](crate::links::LinkStore::insert_all).
pub(super) fn insert_all<'c>(
    connection: &'c mut PgConnection,
    (case, links): &'c (CodeCase, &[NewLink]),
) -> BoxFuture<'c, Result<Ending<Vec<Created>>, sqlx::Error>> {
    Box::pin(async move {
        let mut created = vec![Created::CodeTaken; links.len()];
        for number in in_order_of_locks(*case, links) {
            created[number] = insert(connection, *case, &links[number]).await?;
        }
        Ok(Ending::Commit(created))
    })
}

async fn insert(
    connection: &mut PgConnection,
    case: CodeCase,
    link: &NewLink,
) -> Result<Created, sqlx::Error> {
    if link.deduplicated {
        return insert_deduplicated(connection, link).await;
    }
    let created = insert_own(connection, link).await?;
    let Some(editor) = link
        .in_place_of
        .as_ref()
        .filter(|_| created == Created::CodeTaken)
    else {
        return Ok(created);
    };
    // What it has removed of the dead link is taken back if another link gets the code.
    let mut part = connection.begin().await?;
    match manage::replace(&mut part, &(case, link, editor)).await? {
        Ending::Commit(created) => part.commit().await.map(|()| created),
        Ending::RollBack(created) => part.rollback().await.map(|()| created),
    }
}
