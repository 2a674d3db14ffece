//! Whether a write would be stored, found out by doing it.

use sqlx::{Connection, SqliteConnection};

use super::{COUNT_VISIT, Inserted, connections::Connections, insert};
use crate::links::{NewLink, ShortCode, Write, store::TargetHash};

/// Takes back what was inserted within the same transaction. By `urls_short_code_key`.
const TAKE_BACK: &str = "DELETE FROM urls WHERE short_code = ?1";

/// Takes back a visit that was counted within the same transaction. By `urls_short_code_key`.
const UNCOUNT_VISIT: &str = "UPDATE urls SET visits = visits - 1 WHERE short_code = ?1";

/// As [`LinkStore::rehearse`](crate::links::LinkStore::rehearse). A transaction that is rolled back needs no room in the
/// write-ahead log, and checks no constraint that is deferred: this one is committed.
pub(super) async fn rehearse(connections: &Connections, write: &Write) -> Result<(), sqlx::Error> {
    let mut writer = connections.writer().await?;
    let done = rehearse_on(&mut writer, write).await;
    if done.is_err() {
        // On some errors SQLite ends a transaction by itself, and the driver takes it to go on for ever.
        writer.close_on_drop();
    }
    done
}

async fn rehearse_on(writer: &mut SqliteConnection, write: &Write) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    match write {
        Write::Insert(link) => rehearse_insert(&mut transaction, link).await?,
        Write::Visit(code) => {
            let count = sqlx::query(COUNT_VISIT).bind(code.as_str());
            let counted = count.execute(&mut *transaction).await?;
            if counted.rows_affected() > 0 {
                let uncount = sqlx::query(UNCOUNT_VISIT).bind(code.as_str());
                uncount.execute(&mut *transaction).await?;
            }
        }
    }
    transaction.commit().await
}

async fn rehearse_insert(
    connection: &mut SqliteConnection,
    link: &NewLink,
) -> Result<(), sqlx::Error> {
    let unused = ShortCode::unused();
    let hash = link.target_hash();
    // If the link is there by now, one like it that is not.
    let other_hash = hash.map(|_| rand::random::<TargetHash>());
    for (code, hash) in [(&link.code, hash), (&unused, other_hash)] {
        if insert(connection, link, code, hash).await? == Inserted::Yes {
            let take_back = sqlx::query(TAKE_BACK).bind(code.as_str());
            take_back.execute(connection).await?;
            break;
        }
    }
    Ok(())
}
