//! Several links in one transaction.

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};

use super::{FIND_DEDUPLICATED, Inserted, insert, manage};
use crate::{
    db::Ending,
    links::{CodeCase, Created, NewLink, ShortCode, store::in_order_of_locks},
};

/// In a transaction, which no other write comes between: as
/// [`LinkStore::insert_all`](crate::links::LinkStore::insert_all).
pub(super) fn insert_all<'c>(
    connection: &'c mut SqliteConnection,
    (case, links): &'c (CodeCase, &[NewLink]),
) -> BoxFuture<'c, Result<Ending<Vec<Created>>, sqlx::Error>> {
    Box::pin(async move {
        let mut created = vec![Created::CodeTaken; links.len()];
        for number in in_order_of_locks(*case, links) {
            created[number] = insert_one(connection, *case, &links[number]).await?;
        }
        Ok(Ending::Commit(created))
    })
}

async fn insert_one(
    connection: &mut SqliteConnection,
    case: CodeCase,
    link: &NewLink,
) -> Result<Created, sqlx::Error> {
    let hash = link.target_hash();
    if let Some(hash) = &hash {
        let known: Vec<String> = sqlx::query_scalar(FIND_DEDUPLICATED)
            .bind(hash.as_slice())
            .fetch_all(&mut *connection)
            .await?;
        if let Some(code) = known.into_iter().next() {
            return Ok(Created::Stored(ShortCode::from_store(code)));
        }
    }
    // A statement that fails at a unique index takes back itself, and not the transaction.
    if insert(connection, link, &link.code, hash).await? == Inserted::Yes {
        return Ok(Created::Stored(link.code.clone()));
    }
    let Some(editor) = &link.in_place_of else {
        return Ok(Created::CodeTaken);
    };
    let mut part = connection.begin().await?;
    match manage::replace(&mut part, &(case, link, editor)).await? {
        Ending::Commit(created) => part.commit().await.map(|()| created),
        Ending::RollBack(created) => part.rollback().await.map(|()| created),
    }
}
