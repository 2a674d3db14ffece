//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::{Connection, Executor, PgConnection};

use super::{insert, revoke, rotate};
use crate::keys::{ApiKey, KeyName, KeyWrite, NewKey};

/// Makes deferred constraints fail now: the write is rolled back before the commit.
const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// As [`KeyStore::rehearse`](crate::keys::KeyStore::rehearse). Rolls the write back, which announces nothing to other
/// nodes; commits the transaction around it, which waits for what every commit waits for, such as a standby.
pub(super) fn rehearse<'c>(
    connection: &'c mut PgConnection,
    write: &'c KeyWrite,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin().await?;
        let done = attempt(&mut transaction, write).await?;
        if let KeyWrite::Create(key) = write
            && !done
        {
            // The key may exist by now; then another one of the same kind is tried.
            let name = KeyName::unused();
            let other = KeyWrite::Create(NewKey {
                name,
                ..key.clone()
            });
            attempt(&mut transaction, &other).await?;
        }
        transaction.commit().await
    })
}

/// Does a write and rolls it back. Returns whether it changed a row.
async fn attempt(connection: &mut PgConnection, write: &KeyWrite) -> Result<bool, sqlx::Error> {
    let mut attempt = connection.begin().await?;
    let hash = ApiKey::generate().hash();
    let done = match write {
        KeyWrite::Create(key) => insert(&mut attempt, &(key, &hash)).await?.is_some(),
        KeyWrite::Revoke(name) => revoke(&mut attempt, &name.clone().into()).await?.is_some(),
        KeyWrite::Rotate(name) => {
            let key = name.clone().into();
            rotate(&mut attempt, &(&key, &hash)).await?.is_some()
        }
    };
    attempt.execute(CHECK_CONSTRAINTS).await?;
    attempt.rollback().await?;
    Ok(done)
}
