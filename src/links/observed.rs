//! A store as [`Links`](super::Links) asks it: by way of the [`Health`] of its database.

use std::sync::Arc;

use super::{Created, LinkStore, LookUp, NewLink, ShortCode, Unavailable, Write};
use crate::db::{Access, Checks, Health, Operation, Trial};

const LOOK_UP: Operation = Operation {
    access: Access::Read,
    name: "resolve",
    impossible: "links cannot be looked up",
};

const INSERT: Operation = Operation {
    access: Access::Write,
    name: "insert",
    impossible: "links cannot be made",
};

const VISIT: Operation = Operation {
    access: Access::Write,
    name: "visit",
    impossible: "visits cannot be counted",
};

/// The names of the operations, as they stand in metrics.
pub(super) const OPERATIONS: [&str; 3] = [LOOK_UP.name, INSERT.name, VISIT.name];

/// How the links' database is checked: by looking up a code, and by making a link that is taken back.
pub fn checks(store: &Arc<dyn LinkStore>) -> Checks {
    let reads = store.clone();
    Checks {
        read: Trial::new(move || {
            let store = reads.clone();
            async move { store.ping().await }
        }),
        write: (INSERT, rehearsal(store, Write::any())),
    }
}

/// Does a write again, and takes it back.
fn rehearsal(store: &Arc<dyn LinkStore>, write: Write) -> Trial {
    let (store, write) = (store.clone(), Arc::new(write));
    Trial::new(move || {
        let (store, write) = (store.clone(), write.clone());
        async move { store.rehearse(&write).await }
    })
}

/// An operation that fails is logged and counted here, and tried again until it would succeed; its caller needs to know no
/// more than [`Unavailable`].
pub(super) struct ObservedStore {
    pub(super) store: Arc<dyn LinkStore>,
    pub(super) health: Arc<Health>,
}

impl ObservedStore {
    /// As [`LinkStore::insert`].
    pub(super) async fn insert(&self, link: &NewLink) -> Result<Created, Unavailable> {
        let trial = || rehearsal(&self.store, Write::Insert(link.clone()));
        let created = self.health.run(INSERT, self.store.insert(link), trial);
        created.await.map_err(|_| Unavailable)
    }

    /// As [`LinkStore::look_up`].
    pub(super) async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, Unavailable> {
        let trial = || {
            let (store, codes) = (self.store.clone(), Arc::<[_]>::from(codes));
            Trial::new(move || {
                let (store, codes) = (store.clone(), codes.clone());
                async move { store.look_up(&codes).await.map(drop) }
            })
        };
        let found = self.health.run(LOOK_UP, self.store.look_up(codes), trial);
        found.await.map_err(|_| Unavailable)
    }

    /// As [`LinkStore::count_visit`].
    pub(super) async fn count_visit(&self, code: &ShortCode) -> Result<bool, Unavailable> {
        let trial = || rehearsal(&self.store, Write::Visit(code.clone()));
        let counted = self.health.run(VISIT, self.store.count_visit(code), trial);
        counted.await.map_err(|_| Unavailable)
    }
}
