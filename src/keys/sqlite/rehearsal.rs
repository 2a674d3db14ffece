//! Whether a write would be stored, found out by doing it.

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use super::{insert, revoke, rotate};
use crate::keys::{ApiKey, KeyHash, KeyName, KeyWrite, NewKey};

/// Takes back what was inserted within the same transaction. By `keys_key_sha256_key`.
const TAKE_BACK: &str = "DELETE FROM keys WHERE key_sha256 = ?1";

/// What revoking or rotating a key changes. By `keys_name_key`.
const REMEMBER: &str = "
    SELECT id, key_sha256, expires_at FROM keys WHERE name = ?1 AND revoked_at IS NULL";

/// Puts back what was changed within the same transaction.
const PUT_BACK: &str = "
    UPDATE keys SET key_sha256 = ?2, expires_at = ?3, revoked_at = NULL WHERE id = ?1";

/// Does a write and takes it back, in the transaction that [`Sqlite::rehearse`](crate::db::Sqlite::rehearse) commits.
pub(super) fn rehearse<'c>(
    transaction: &'c mut SqliteConnection,
    write: &'c KeyWrite,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let hash = ApiKey::generate().hash();
        match write {
            KeyWrite::Create(key) => rehearse_insert(transaction, key, &hash).await,
            KeyWrite::Revoke(name) | KeyWrite::Rotate(name) => {
                let remember = sqlx::query_as(REMEMBER).bind(name.as_str());
                let before: Vec<(i64, Vec<u8>, Option<f64>)> =
                    remember.fetch_all(&mut *transaction).await?;
                let key = name.clone().into();
                if let KeyWrite::Rotate(_) = write {
                    rotate(&mut *transaction, &key, &hash).await?;
                } else {
                    revoke(&mut *transaction, &key).await?;
                }
                for (id, key_sha256, expires_at) in before {
                    let put_back = sqlx::query(PUT_BACK)
                        .bind(id)
                        .bind(key_sha256)
                        .bind(expires_at);
                    put_back.execute(&mut *transaction).await?;
                }
                Ok(())
            }
        }
    })
}

async fn rehearse_insert(
    connection: &mut SqliteConnection,
    key: &NewKey,
    hash: &KeyHash,
) -> Result<(), sqlx::Error> {
    // The key may exist by now; then another one of the same kind is tried.
    let other = NewKey {
        name: KeyName::unused(),
        ..key.clone()
    };
    for key in [key, &other] {
        if insert(&mut *connection, key, hash).await?.is_some() {
            let take_back = sqlx::query(TAKE_BACK).bind(hash.0.as_slice());
            take_back.execute(&mut *connection).await?;
            break;
        }
    }
    Ok(())
}
