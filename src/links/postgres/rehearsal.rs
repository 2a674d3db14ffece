//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::{Connection, Executor, PgConnection};

use super::{count_visit, insert_under};
use crate::links::{NewLink, ShortCode, Write, store::TargetHash};

/// As `INSERT_DEDUPLICATED`, but what it did shows: that the link was there before proves nothing. Unique by
/// `urls_short_code_key` and `urls_url_sha256_key`.
const INSERT_DEDUPLICATED: &str = "
    INSERT INTO urls (short_code, original_url, url_sha256) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING";

/// Has whatever is deferred to the commit happen now: the write does not live to see it.
const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// As [`LinkStore::rehearse`](crate::links::LinkStore::rehearse). The write is rolled back, which needs no right to delete and
/// announces nothing to other nodes; the transaction around it is committed, and waits for whatever a commit waits for, such
/// as a standby.
pub(super) fn rehearse<'c>(
    connection: &'c mut PgConnection,
    write: &'c Write,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        match write {
            Write::Insert(link) => {
                let unused = ShortCode::unused();
                // If the link is there by now, one like it that is not.
                if !try_insert(&mut transaction, link, &link.code, link.target_hash()).await? {
                    let hash = link.deduplicated.then(rand::random::<TargetHash>);
                    try_insert(&mut transaction, link, &unused, hash).await?;
                }
            }
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

/// Whether a row was inserted, which it is no more.
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
