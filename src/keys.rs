//! API keys: what a key is, what it allows, and the stores that keep it.
//!
//! A key acts for an owner. It is a secret that is shown once, when it is made; only its hash is stored.
//!
//! | file | what it is about |
//! |---|---|
//! | `key`, `name`, `scope`, `life` | what a key consists of; raw input is parsed once, at the edge, into types that only exist in a valid state |
//! | `verify` | whether a key is good: by what is remembered, or by a look-up |
//! | `manage` | how keys are made, listed, revoked and rotated |
//! | `memory` | the good keys that this process remembers, and when it believes that |
//! | `watch` | hearing of changes that others make |
//! | `store` | the trait of a store of keys; `postgres` and `sqlite` implement it, `row` is what both read |
//! | `observed` | a store with the health of its database in front |
//! | `metrics` | what is measured of the store and of the memory |
//!
//! Nothing here knows of HTTP or of the configuration file.

mod key;
mod life;
mod manage;
mod memory;
mod metrics;
mod name;
mod observed;
mod postgres;
mod row;
mod scope;
mod sqlite;
mod store;
mod verify;
mod watch;

use std::sync::Arc;

use self::{memory::Memory, observed::ObservedStore};

pub use key::{ApiKey, KeyHash};
pub use life::{InvalidLife, Life};
pub use manage::{ChangeKeyError, CreateKeyError};
pub use memory::{Calm, KeysUsage};
pub use metrics::{KeyOperation, register_key_metrics};
pub use name::{InvalidKeyName, KeyName};
pub use postgres::PostgresKeys;
pub use scope::{InvalidScopes, Scope, Scopes};
pub use sqlite::SqliteKeys;
pub use store::{
    FoundKey, KeyChange, KeyId, KeyRecord, KeyRef, KeyState, KeyStore, KeyWrite, ListKeys, NewKey,
    VerifiedKey,
};

use crate::{
    db::{Health, Troubles},
    telemetry::StoreMetrics,
};

/// Verifies and manages keys.
pub struct Keys {
    store: ObservedStore,
    memory: Memory,
}

/// The store could not be asked. What was wrong is logged and counted where it failed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the keys are unavailable")]
pub struct Unavailable;

impl Keys {
    /// Keys kept in `store`. `health` is that of the store's database, and something else supervises it, such as the
    /// links in the same database. [`supervise`](Self::supervise) must run too: without it nothing is remembered.
    pub fn new(
        store: Arc<dyn KeyStore>,
        health: Arc<Health>,
        metrics: StoreMetrics<KeyOperation>,
    ) -> Self {
        Self {
            store: ObservedStore {
                store,
                health,
                metrics,
            },
            memory: Memory::default(),
        }
    }

    /// What the database is known to fail at, without asking it: the reasons behind an [`Unavailable`].
    pub fn known_troubles(&self) -> Troubles {
        self.store.health.known_troubles()
    }

    /// What is remembered at the moment.
    pub fn usage(&self) -> KeysUsage {
        self.memory.usage()
    }

    /// Closes the database's connections.
    pub async fn close(&self) {
        self.store.health.database().close().await;
    }
}
