//! The trait that every store of keys implements.

use std::{fmt, time::Duration, time::SystemTime};

use async_trait::async_trait;

use super::{KeyHash, KeyName, Life, Scopes};
use crate::{db::DatabaseError, limiter::Quota, owner::Owner};

/// Where keys are kept.
///
/// `tests/it/stores/keys.rs` is the contract, run on every implementation.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key, correctly under any race: a unique index on the names of keys that are not revoked decides. When
    /// this returns a record, the key is committed. `None` if the name is taken.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. The key may or may not be stored.
    async fn insert(
        &self,
        key: &NewKey,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError>;

    /// The key with this hash, if it works: `None` if it is unknown, has expired or is revoked. Changes nothing.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn look_up(&self, hash: &KeyHash) -> Result<Option<FoundKey>, DatabaseError>;

    /// Keys in the order of their names, and those of one name in the order in which they were made.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn list(&self, which: &ListKeys) -> Result<Vec<KeyRecord>, DatabaseError>;

    /// The key that is asked for, unless it is revoked. If a number is asked for, also the key that is not revoked and has
    /// the name now, and a revoked key of this number that had the name: at most two keys.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn show(&self, key: &KeyRef) -> Result<Vec<KeyRecord>, DatabaseError>;

    /// Revokes a key, for good. `None` if there is no such key, or it is revoked already.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. The key may or may not be revoked.
    async fn revoke(&self, key: &KeyRef) -> Result<Option<KeyRecord>, DatabaseError>;

    /// Puts another secret in the place of that of a key, and begins its life anew if that is limited. Also revives a key
    /// that has expired. `None` if there is no such key, or it is revoked.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. The key may or may not have the new secret.
    async fn rotate(
        &self,
        key: &KeyRef,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, DatabaseError>;

    /// Whether there is any key at all, even one that no longer works.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn any(&self) -> Result<bool, DatabaseError>;

    /// Reports every change after which a key that worked may no longer work, also changes that other nodes and
    /// administrators make. Begins with [`KeyChange::Watching`] once no change can be missed any more. Returns, with
    /// the reason, when it cannot go on.
    async fn watch(&self, report: &(dyn Fn(KeyChange) + Send + Sync)) -> DatabaseError;

    /// Does a write, takes it back, and commits the transaction around both: what shows only in a commit shows here.
    /// Nothing of it is visible outside of the transaction.
    ///
    /// # Errors
    /// [`DatabaseError`] if the write would not be stored.
    async fn rehearse(&self, write: &KeyWrite) -> Result<(), DatabaseError>;
}

/// The number of a key. It stays the same when the key is rotated, and no other key ever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub i64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that somebody speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// What it is called. The name of a revoked key is free, so this can be another key each time.
    pub name: KeyName,
    /// If given, only the key with this number is meant.
    pub id: Option<KeyId>,
}

impl From<KeyName> for KeyRef {
    fn from(name: KeyName) -> Self {
        Self { name, id: None }
    }
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called.
    pub name: KeyName,
    /// Whom it acts for.
    pub owner: Owner,
    /// What it allows.
    pub scopes: Scopes,
    /// How many requests it may make, if not as many as every key.
    pub quota: Option<Quota>,
    /// How long it works, if not forever.
    pub life: Option<Life>,
}

/// A key that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey {
    /// Its number.
    pub id: KeyId,
    /// What it is called.
    pub name: KeyName,
    /// Whom it acts for.
    pub owner: Owner,
    /// What it allows.
    pub scopes: Scopes,
    /// How many requests it may make, if not as many as every key.
    pub quota: Option<Quota>,
}

/// A key that a store has found by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKey {
    /// The hash that is stored.
    pub hash: KeyHash,
    /// What is known of it.
    pub key: VerifiedKey,
    /// How much longer it works, by the store's clock.
    pub expires_in: Option<Duration>,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its number.
    pub id: KeyId,
    /// What it is called.
    pub name: KeyName,
    /// Whom it acts for.
    pub owner: Owner,
    /// What it allows.
    pub scopes: Scopes,
    /// How many requests it may make, if not as many as every key.
    pub quota: Option<Quota>,
    /// When it was made, by the store's clock.
    pub created_at: SystemTime,
    /// When it expires, by the store's clock.
    pub expires_at: Option<SystemTime>,
    /// Whether it works.
    pub state: KeyState,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It works.
    Working,
    /// Its life is over. It keeps its name, and works again when it is rotated.
    Expired,
    /// It was revoked, and never works again. Its name is free.
    Revoked,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Working => "working",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// Which keys to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListKeys {
    /// Only those of this owner.
    pub owner: Option<Owner>,
    /// Also those that have expired or are revoked.
    pub all: bool,
    /// Only those that come after the key with this name and this number.
    pub after: Option<(KeyName, KeyId)>,
    /// At most so many; if not given, all.
    pub limit: Option<u32>,
}

/// A write that failed, to be [rehearsed](KeyStore::rehearse) until it would succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyWrite {
    /// Storing a key.
    Create(NewKey),
    /// Revoking the key of this name.
    Revoke(KeyName),
    /// Rotating the key of this name.
    Rotate(KeyName),
}

/// A change in the store that matters to those who remember which keys work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// From now on no change is missed. Any number may have been missed before.
    Watching,
    /// Any key may have changed.
    Keys,
}
