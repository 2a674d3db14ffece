//! A store as [`Keys`](super::Keys) asks it: through the [`Health`] of its database.

use std::sync::Arc;

use super::{
    FoundKey, KeyHash, KeyOperation, KeyRecord, KeyRef, KeyStore, KeyWrite, ListKeys, NewKey,
    Unavailable,
};
use crate::{
    db::{DatabaseError, Health, Trial},
    telemetry::StoreMetrics,
};

/// An operation that fails is logged and counted here, and tried again until it would succeed; its caller needs to know
/// no more than [`Unavailable`].
pub(super) struct ObservedStore {
    pub(super) store: Arc<dyn KeyStore>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: StoreMetrics<KeyOperation>,
}

impl ObservedStore {
    /// As [`KeyStore::insert`].
    pub(super) async fn insert(
        &self,
        key: &NewKey,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, Unavailable> {
        let trial = || self.rehearsal(KeyWrite::Create(key.clone()));
        let insert = self.store.insert(key, hash);
        self.run(KeyOperation::Create, insert, trial).await
    }

    /// As [`KeyStore::look_up`].
    pub(super) async fn look_up(&self, hash: &KeyHash) -> Result<Option<FoundKey>, Unavailable> {
        let trial = || {
            let (store, hash) = (self.store.clone(), *hash);
            Trial::new(move || {
                let store = store.clone();
                async move { store.look_up(&hash).await.map(drop) }
            })
        };
        let look_up = self.store.look_up(hash);
        self.run(KeyOperation::LookUp, look_up, trial).await
    }

    /// As [`KeyStore::list`].
    pub(super) async fn list(&self, which: &ListKeys) -> Result<Vec<KeyRecord>, Unavailable> {
        let trial = || {
            // To know whether the list can be read, one key is enough.
            let one = ListKeys {
                limit: Some(1),
                ..which.clone()
            };
            let (store, which) = (self.store.clone(), Arc::new(one));
            Trial::new(move || {
                let (store, which) = (store.clone(), which.clone());
                async move { store.list(&which).await.map(drop) }
            })
        };
        let list = self.store.list(which);
        self.run(KeyOperation::List, list, trial).await
    }

    /// As [`KeyStore::any`].
    pub(super) async fn any(&self) -> Result<bool, Unavailable> {
        let trial = || {
            let store = self.store.clone();
            Trial::new(move || {
                let store = store.clone();
                async move { store.any().await.map(drop) }
            })
        };
        self.run(KeyOperation::List, self.store.any(), trial).await
    }

    /// As [`KeyStore::show`].
    pub(super) async fn show(&self, key: &KeyRef) -> Result<Vec<KeyRecord>, Unavailable> {
        let trial = || {
            let (store, key) = (self.store.clone(), Arc::new(key.clone()));
            Trial::new(move || {
                let (store, key) = (store.clone(), key.clone());
                async move { store.show(&key).await.map(drop) }
            })
        };
        self.run(KeyOperation::List, self.store.show(key), trial)
            .await
    }

    /// As [`KeyStore::revoke`].
    pub(super) async fn revoke(&self, key: &KeyRef) -> Result<Option<KeyRecord>, Unavailable> {
        let trial = || self.rehearsal(KeyWrite::Revoke(key.name.clone()));
        let revoke = self.store.revoke(key);
        self.run(KeyOperation::Revoke, revoke, trial).await
    }

    /// As [`KeyStore::rotate`].
    pub(super) async fn rotate(
        &self,
        key: &KeyRef,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, Unavailable> {
        let trial = || self.rehearsal(KeyWrite::Rotate(key.name.clone()));
        let rotate = self.store.rotate(key, hash);
        self.run(KeyOperation::Rotate, rotate, trial).await
    }

    /// Does a write again, and takes it back.
    fn rehearsal(&self, write: KeyWrite) -> Trial {
        let (store, write) = (self.store.clone(), Arc::new(write));
        Trial::new(move || {
            let (store, write) = (store.clone(), write.clone());
            async move { store.rehearse(&write).await }
        })
    }

    async fn run<T>(
        &self,
        operation: KeyOperation,
        answer: impl Future<Output = Result<T, DatabaseError>>,
        trial: impl FnOnce() -> Trial,
    ) -> Result<T, Unavailable> {
        let done = self.health.run(&self.metrics, operation, answer, trial);
        done.await.map_err(|_| Unavailable)
    }
}
