//! Keys in an SQLite file: the embedded mode.

mod rehearsal;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::time::{sleep, timeout};

use super::{
    FoundKey, KeyChange, KeyHash, KeyRecord, KeyRef, KeyStore, KeyWrite, Life, ListKeys, NewKey,
    row::{Row, quota_columns},
};
use crate::{
    db::{DatabaseError, Sqlite},
    owner::Owner,
};

/// Between looks at whether keys have changed.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What a [`Row`] is read from.
macro_rules! columns {
    () => {
        "id, key_sha256, name, owner, scopes, quota_limit, quota_window_ms, created_at, expires_at,
         expires_at - unixepoch('subsec') AS expires_in,
         coalesce(expires_at <= unixepoch('subsec'), 0) AS expired,
         revoked_at IS NOT NULL AS revoked"
    };
}

/// Returns no row if the name is taken. Unique by `keys_name_key`.
const INSERT: &str = concat!(
    "INSERT INTO keys
        (key_sha256, name, owner, scopes, quota_limit, quota_window_ms, life_seconds, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, unixepoch('subsec') + ?7)
     ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
     RETURNING ",
    columns!()
);

/// By `keys_key_sha256_key`.
const LOOK_UP: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys
     WHERE key_sha256 = ?1 AND revoked_at IS NULL AND coalesce(expires_at > unixepoch('subsec'), 1)"
);

/// Reads the whole table, which is small: people make keys.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys
     WHERE owner = coalesce(?1, owner)
       AND (?2 OR (revoked_at IS NULL AND coalesce(expires_at > unixepoch('subsec'), 1)))
       AND (?3 IS NULL OR (name, id) > (?3, ?4))
     ORDER BY name, id
     LIMIT coalesce(?5, -1)"
);

/// By `keys_name_key` and the primary key.
const SHOW: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keys WHERE (name = ?1 AND revoked_at IS NULL) OR (id = ?2 AND name = ?1)"
);

/// By `keys_name_key`.
const REVOKE: &str = concat!(
    "UPDATE keys SET revoked_at = unixepoch('subsec')
     WHERE name = ?1 AND revoked_at IS NULL AND id = coalesce(?2, id)
     RETURNING ",
    columns!()
);

/// An expiry that an administrator has set on a key without a limited life stays. By `keys_name_key`.
const ROTATE: &str = concat!(
    "UPDATE keys
     SET key_sha256 = ?2, expires_at = coalesce(unixepoch('subsec') + life_seconds, expires_at)
     WHERE name = ?1 AND revoked_at IS NULL AND id = coalesce(?3, id)
     RETURNING ",
    columns!()
);

const ANY: &str = "SELECT EXISTS (SELECT 1 FROM keys)";

/// Triggers count the changes (`migrations/sqlite`), whoever makes them. `PRAGMA data_version` would not show a write of
/// this process that was committed after the process had given it up.
const CHANGES: &str = "SELECT number FROM keys_changes";

/// Keys in an SQLite file.
pub struct SqliteKeys {
    sqlite: Arc<Sqlite>,
}

impl SqliteKeys {
    /// The keys in this file.
    pub fn new(sqlite: Arc<Sqlite>) -> Self {
        Self { sqlite }
    }

    async fn changes(&self) -> Result<Option<i64>, DatabaseError> {
        let numbers = async {
            let mut reader = self.sqlite.reader().await?;
            sqlx::query_scalar(CHANGES).fetch_all(&mut *reader).await
        };
        let numbers: Vec<i64> = self.sqlite.read(numbers).await?;
        Ok(numbers.first().copied())
    }
}

/// `fetch_all` runs a statement to its end, where SQLite commits it, and reports if that fails.
async fn insert(
    connection: &mut SqliteConnection,
    key: &NewKey,
    hash: &KeyHash,
) -> Result<Option<KeyRecord>, sqlx::Error> {
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
}

/// As [`insert`] reads its answer.
async fn revoke(
    connection: &mut SqliteConnection,
    key: &KeyRef,
) -> Result<Option<KeyRecord>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(REVOKE)
        .bind(key.name.as_str())
        .bind(key.id.map(|id| id.0))
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().next().map(KeyRecord::from))
}

/// As [`insert`] reads its answer. A look-up after the statement could come after another rotation, by another process,
/// and find nothing.
async fn rotate(
    connection: &mut SqliteConnection,
    key: &KeyRef,
    hash: &KeyHash,
) -> Result<Option<KeyRecord>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(ROTATE)
        .bind(key.name.as_str())
        .bind(hash.0.as_slice())
        .bind(key.id.map(|id| id.0))
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().next().map(KeyRecord::from))
}

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn insert(
        &self,
        key: &NewKey,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError> {
        let insert = async {
            let mut writer = self.sqlite.writer().await?;
            insert(&mut writer, key, hash).await
        };
        self.sqlite.write(insert).await
    }

    async fn look_up(&self, hash: &KeyHash) -> Result<Option<FoundKey>, DatabaseError> {
        let look_up = async {
            let mut reader = self.sqlite.reader().await?;
            let look_up = sqlx::query_as(LOOK_UP).bind(hash.0.as_slice());
            look_up.fetch_all(&mut *reader).await
        };
        let rows: Vec<Row> = self.sqlite.read(look_up).await?;
        Ok(rows.into_iter().next().and_then(Row::found))
    }

    async fn list(&self, which: &ListKeys) -> Result<Vec<KeyRecord>, DatabaseError> {
        let list = async {
            let mut reader = self.sqlite.reader().await?;
            let list = sqlx::query_as(LIST)
                .bind(which.owner.as_ref().map(Owner::as_str))
                .bind(which.all)
                .bind(which.after.as_ref().map(|(name, _)| name.as_str()))
                .bind(which.after.as_ref().map(|(_, id)| id.0))
                .bind(which.limit.map(i64::from));
            list.fetch_all(&mut *reader).await
        };
        let rows: Vec<Row> = self.sqlite.read(list).await?;
        Ok(rows.into_iter().map(KeyRecord::from).collect())
    }

    async fn show(&self, key: &KeyRef) -> Result<Vec<KeyRecord>, DatabaseError> {
        let show = async {
            let mut reader = self.sqlite.reader().await?;
            let show = sqlx::query_as(SHOW)
                .bind(key.name.as_str())
                .bind(key.id.map(|id| id.0));
            show.fetch_all(&mut *reader).await
        };
        let rows: Vec<Row> = self.sqlite.read(show).await?;
        Ok(rows.into_iter().map(KeyRecord::from).collect())
    }

    async fn revoke(&self, key: &KeyRef) -> Result<Option<KeyRecord>, DatabaseError> {
        let revoke = async {
            let mut writer = self.sqlite.writer().await?;
            revoke(&mut writer, key).await
        };
        self.sqlite.write(revoke).await
    }

    async fn rotate(
        &self,
        key: &KeyRef,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError> {
        let rotate = async {
            let mut writer = self.sqlite.writer().await?;
            rotate(&mut writer, key, hash).await
        };
        self.sqlite.write(rotate).await
    }

    async fn any(&self) -> Result<bool, DatabaseError> {
        let any = async {
            let mut reader = self.sqlite.reader().await?;
            sqlx::query_scalar(ANY).fetch_all(&mut *reader).await
        };
        let any: Vec<bool> = self.sqlite.read(any).await?;
        Ok(any.first() == Some(&true))
    }

    /// `shunt keys` is another process, and so is an administrator's `sqlite3`.
    async fn watch(&self, report: &(dyn Fn(KeyChange) + Send + Sync)) -> DatabaseError {
        let mut seen = None;
        loop {
            // A slow answer is as bad as none: meanwhile a key may be revoked unheard.
            let number = match timeout(WATCH_INTERVAL, self.changes()).await {
                Ok(Ok(number)) => number,
                Ok(Err(error)) => return error,
                Err(_) => return DatabaseError::Timeout(WATCH_INTERVAL),
            };
            match seen.replace(number) {
                None => report(KeyChange::Watching),
                Some(before) if before != number => report(KeyChange::Keys),
                Some(_) => {}
            }
            sleep(WATCH_INTERVAL).await;
        }
    }

    async fn rehearse(&self, write: &KeyWrite) -> Result<(), DatabaseError> {
        if self.sqlite.is_in_memory() {
            return self.any().await.map(drop);
        }
        self.sqlite.rehearse(write, rehearsal::rehearse).await
    }
}
