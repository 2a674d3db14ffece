//! Keys in Postgres, where several nodes may use them.

mod rehearsal;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{
    FoundKey, KeyChange, KeyHash, KeyRecord, KeyRef, KeyStore, KeyWrite, Life, ListKeys, NewKey,
    row::{Row, quota_columns},
};
use crate::{
    db::{DatabaseError, Postgres},
    owner::Owner,
};

/// The channel on which the table's trigger (`migrations/postgres`) announces that keys have changed. Every node listens
/// on it.
const CHANNEL: &str = "shunt_keys";

/// What a [`Row`] is read from.
macro_rules! columns {
    () => {
        "id, key_sha256, name, owner, scopes, quota_limit, quota_window_ms,
         extract(epoch FROM created_at)::float8 AS created_at,
         CASE WHEN isfinite(expires_at) THEN extract(epoch FROM expires_at)::float8 END AS expires_at,
         CASE WHEN isfinite(expires_at) THEN extract(epoch FROM expires_at - now())::float8 END AS expires_in,
         coalesce(expires_at <= now(), false) AS expired,
         revoked_at IS NOT NULL AS revoked"
    };
}

/// Returns no row if the name is taken. Unique by `keys_name_key`.
const INSERT: &str = concat!(
    "INSERT INTO keys
         (key_sha256, name, owner, scopes, quota_limit, quota_window_ms, life_seconds, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $7::bigint::float8))
     ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
     RETURNING ",
    columns!()
);

/// By `keys_key_sha256_key`.
const LOOK_UP: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys
     WHERE key_sha256 = $1 AND revoked_at IS NULL AND coalesce(expires_at > now(), true)"
);

/// Reads the whole table, which is small: people make keys.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys
     WHERE owner = coalesce($1, owner)
       AND ($2 OR (revoked_at IS NULL AND coalesce(expires_at > now(), true)))
       AND ($3::text IS NULL OR (keys.name, keys.id) > ($3::text, $4::bigint))
     ORDER BY keys.name, keys.id
     LIMIT $5"
);

/// By `keys_name_key` and the primary key.
const SHOW: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys
     WHERE (keys.name = $1 AND revoked_at IS NULL) OR (keys.id = $2 AND keys.name = $1)"
);

/// By `keys_name_key`.
const REVOKE: &str = concat!(
    "UPDATE keys SET revoked_at = now()
     WHERE name = $1 AND revoked_at IS NULL AND id = coalesce($2, id)
     RETURNING ",
    columns!()
);

/// An expiry that an administrator has set on a key without a limited life stays. By `keys_name_key`.
const ROTATE: &str = concat!(
    "UPDATE keys
     SET key_sha256 = $2,
         expires_at = coalesce(now() + make_interval(secs => life_seconds::float8), expires_at)
     WHERE name = $1 AND revoked_at IS NULL AND id = coalesce($3, id)
     RETURNING ",
    columns!()
);

const ANY: &str = "SELECT EXISTS (SELECT FROM keys)";

/// Keys in Postgres.
pub struct PostgresKeys {
    postgres: Arc<Postgres>,
}

impl PostgresKeys {
    /// The keys in this database.
    pub fn new(postgres: Arc<Postgres>) -> Self {
        Self { postgres }
    }
}

#[async_trait]
impl KeyStore for PostgresKeys {
    async fn insert(
        &self,
        key: &NewKey,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError> {
        self.postgres.pool.write(&(key, hash), insert).await
    }

    async fn look_up(&self, hash: &KeyHash) -> Result<Option<FoundKey>, DatabaseError> {
        self.postgres.pool.read(hash, look_up).await
    }

    async fn list(&self, which: &ListKeys) -> Result<Vec<KeyRecord>, DatabaseError> {
        self.postgres.pool.read(which, list).await
    }

    async fn show(&self, key: &KeyRef) -> Result<Vec<KeyRecord>, DatabaseError> {
        self.postgres.pool.read(key, show).await
    }

    async fn revoke(&self, key: &KeyRef) -> Result<Option<KeyRecord>, DatabaseError> {
        self.postgres.pool.write(key, revoke).await
    }

    async fn rotate(
        &self,
        key: &KeyRef,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError> {
        self.postgres.pool.write(&(key, hash), rotate).await
    }

    async fn any(&self) -> Result<bool, DatabaseError> {
        self.postgres.pool.read(&(), any).await
    }

    async fn watch(&self, report: &(dyn Fn(KeyChange) + Send + Sync)) -> DatabaseError {
        let mut listener = match self.postgres.listen(CHANNEL).await {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        report(KeyChange::Watching);
        loop {
            match listener.next().await {
                Ok(_) => report(KeyChange::Keys),
                Err(error) => return error,
            }
        }
    }

    async fn rehearse(&self, write: &KeyWrite) -> Result<(), DatabaseError> {
        let pool = &self.postgres.pool;
        pool.write_idempotent(write, rehearsal::rehearse).await
    }
}

/// Reads the answer to its end: after the row, Postgres may still report that the commit has failed.
fn insert<'c>(
    connection: &'c mut PgConnection,
    (key, hash): &'c (&NewKey, &KeyHash),
) -> BoxFuture<'c, Result<Option<KeyRecord>, sqlx::Error>> {
    Box::pin(async move {
        let (quota_limit, quota_window_ms) = quota_columns(key);
        let rows: Vec<Row> = sqlx::query_as(INSERT)
            .bind(hash.0.as_slice())
            .bind(key.name.as_str())
            .bind(key.owner.as_str())
            .bind(key.scopes.to_string())
            .bind(quota_limit)
            .bind(quota_window_ms)
            .bind(key.life.map(Life::seconds))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().next().map(KeyRecord::from))
    })
}

fn look_up<'c>(
    connection: &'c mut PgConnection,
    hash: &'c KeyHash,
) -> BoxFuture<'c, Result<Option<FoundKey>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(LOOK_UP)
            .bind(hash.0.as_slice())
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().next().and_then(Row::found))
    })
}

fn list<'c>(
    connection: &'c mut PgConnection,
    which: &'c ListKeys,
) -> BoxFuture<'c, Result<Vec<KeyRecord>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(LIST)
            .bind(which.owner.as_ref().map(Owner::as_str))
            .bind(which.all)
            .bind(which.after.as_ref().map(|(name, _)| name.as_str()))
            .bind(which.after.as_ref().map(|(_, id)| id.0))
            .bind(which.limit.map(i64::from))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(KeyRecord::from).collect())
    })
}

fn show<'c>(
    connection: &'c mut PgConnection,
    key: &'c KeyRef,
) -> BoxFuture<'c, Result<Vec<KeyRecord>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(SHOW)
            .bind(key.name.as_str())
            .bind(key.id.map(|id| id.0))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(KeyRecord::from).collect())
    })
}

/// As [`insert`] reads its answer.
fn revoke<'c>(
    connection: &'c mut PgConnection,
    key: &'c KeyRef,
) -> BoxFuture<'c, Result<Option<KeyRecord>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(REVOKE)
            .bind(key.name.as_str())
            .bind(key.id.map(|id| id.0))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().next().map(KeyRecord::from))
    })
}

/// As [`insert`] reads its answer.
fn rotate<'c>(
    connection: &'c mut PgConnection,
    (key, hash): &'c (&KeyRef, &KeyHash),
) -> BoxFuture<'c, Result<Option<KeyRecord>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(ROTATE)
            .bind(key.name.as_str())
            .bind(hash.0.as_slice())
            .bind(key.id.map(|id| id.0))
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().next().map(KeyRecord::from))
    })
}

fn any<'c>(
    connection: &'c mut PgConnection,
    (): &'c (),
) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        let any: Vec<bool> = sqlx::query_scalar(ANY).fetch_all(connection).await?;
        Ok(any.first() == Some(&true))
    })
}
