//! A store as [`Links`](super::Links) asks it: through the [`Health`] of its database.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{
    Created, Edit, Edited, Indexed, LinkOperation, LinkPage, LinkQuery, LinkRecord, LinkStore,
    Look, LookUp, NewLink, OwnerCount, Retag, RetagStep, ShortCode, TagCount, Unavailable, Whose,
    Write,
};
use crate::{
    db::{Checks, DatabaseError, Health, Operation, Trial},
    telemetry::{StoreMetrics, chain},
};

/// How the links' database is checked: by looking up a code, and by making a link that is taken back.
pub fn checks(store: &Arc<dyn LinkStore>) -> Checks {
    let (reads, writes) = (store.clone(), store.clone());
    Checks {
        read: Trial::new(move || {
            let store = reads.clone();
            async move { store.ping().await }
        }),
        write: (
            LinkOperation::Insert.into(),
            Trial::new(move || {
                let store = writes.clone();
                // Another link each time: no check waits for another one in an index.
                async move { store.rehearse(&Write::any()).await }
            }),
        ),
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

/// An operation that fails is logged and counted here, and tried again until it would succeed; its caller needs to know
/// no more than [`Unavailable`].
pub(super) struct ObservedStore {
    pub(super) store: Arc<dyn LinkStore>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: StoreMetrics<LinkOperation>,
}

impl ObservedStore {
    /// As [`LinkStore::insert`].
    pub(super) async fn insert(&self, link: &NewLink) -> Result<Created, Unavailable> {
        let trial = || rehearsal(&self.store, Write::Insert(Box::new(link.clone())));
        let insert = self.store.insert(link);
        self.run(LinkOperation::Insert, insert, trial).await
    }

    /// As [`LinkStore::insert_all`].
    pub(super) async fn insert_all(&self, links: &[NewLink]) -> Result<Vec<Created>, Unavailable> {
        let trial = || rehearsal(&self.store, Write::InsertMany(links.to_vec()));
        let insert = self.store.insert_all(links);
        self.run(LinkOperation::InsertMany, insert, trial).await
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
        let look_up = self.store.look_up(codes);
        self.run(LinkOperation::LookUp, look_up, trial).await
    }

    /// As [`LinkStore::count_visit`].
    pub(super) async fn count_visit(&self, code: &ShortCode) -> Result<bool, Unavailable> {
        let trial = || rehearsal(&self.store, Write::Visit(code.clone()));
        let count = self.store.count_visit(code);
        self.run(LinkOperation::Visit, count, trial).await
    }

    /// As [`LinkManagement::record`](super::LinkManagement::record).
    pub(super) async fn record(&self, code: &ShortCode) -> Result<Option<LinkRecord>, Unavailable> {
        let trial = || {
            let (store, code) = (self.store.clone(), code.clone());
            Trial::new(move || {
                let (store, code) = (store.clone(), code.clone());
                async move { store.record(&code).await.map(drop) }
            })
        };
        let record = self.store.record(code);
        self.run(LinkOperation::Record, record, trial).await
    }

    /// As [`LinkManagement::records`](super::LinkManagement::records).
    pub(super) async fn records(
        &self,
        codes: &[ShortCode],
    ) -> Result<Vec<LinkRecord>, Unavailable> {
        let trial = || {
            let (store, codes) = (self.store.clone(), Arc::<[_]>::from(codes));
            Trial::new(move || {
                let (store, codes) = (store.clone(), codes.clone());
                async move { store.records(&codes).await.map(drop) }
            })
        };
        let records = self.store.records(codes);
        self.run(LinkOperation::Record, records, trial).await
    }

    /// As [`LinkManagement::edit`](super::LinkManagement::edit).
    pub(super) async fn edit(&self, edit: &Edit) -> Result<Edited, Unavailable> {
        let trial = || rehearsal(&self.store, Write::Edit(edit.clone()));
        let done = self.store.edit(edit);
        self.run(LinkOperation::Edit, done, trial).await
    }

    /// As [`LinkManagement::purge`](super::LinkManagement::purge).
    pub(super) async fn purge(
        &self,
        deleted_for: Duration,
        at_most: u32,
    ) -> Result<u64, Unavailable> {
        let trial = || {
            let store = self.store.clone();
            Trial::new(move || {
                let store = store.clone();
                // Not taken back: what is purged has to be purged anyway.
                async move { store.purge(deleted_for, 1).await.map(drop) }
            })
        };
        let purge = self.store.purge(deleted_for, at_most);
        self.run(LinkOperation::Purge, purge, trial).await
    }

    /// As [`LinkSearch::find`](super::LinkSearch::find).
    pub(super) async fn find(&self, query: &LinkQuery) -> Result<LinkPage, Unavailable> {
        let find = self.store.find(query);
        self.read(LinkOperation::Find, find).await
    }

    /// As [`LinkSearch::index`](super::LinkSearch::index). Does nothing while the database is in trouble. Its errors are
    /// for the log.
    pub(super) async fn index(&self, look: Look) -> Result<Option<Indexed>, DatabaseError> {
        if self.health.is_suspected() {
            return Ok(Some(Indexed::Later));
        }
        let index = self.store.index(look);
        let measured = self
            .metrics
            .measure(LinkOperation::Index, index, DatabaseError::kind);
        measured.await
    }

    /// As [`LinkTags::tags`](super::LinkTags::tags).
    pub(super) async fn tags(
        &self,
        whose: &Whose,
        after: &str,
        at_most: u32,
    ) -> Result<Vec<TagCount>, Unavailable> {
        let tags = self.store.tags(whose, after, at_most);
        self.read(LinkOperation::Count, tags).await
    }

    /// As [`LinkTags::owners`](super::LinkTags::owners).
    pub(super) async fn owners(&self, whose: &Whose) -> Result<Vec<OwnerCount>, Unavailable> {
        let owners = self.store.owners(whose);
        self.read(LinkOperation::Count, owners).await
    }

    /// Reads many links. It may be too many for the time there is: that is no trouble of the database, and must not be
    /// tried again and again. What else may be wrong, other operations find out.
    async fn read<T>(
        &self,
        operation: LinkOperation,
        answer: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, Unavailable> {
        if self.health.is_unreachable() {
            return Err(Unavailable);
        }
        let kind = DatabaseError::kind;
        let measured = self.metrics.measure(operation, answer, kind);
        measured.await.map_err(|error| {
            let (error, impossible) = (chain(&error), Operation::from(operation).impossible);
            warn!(error, "{impossible}");
            Unavailable
        })
    }

    /// As [`LinkTags::retag`](super::LinkTags::retag). Its trial is another write to the same table.
    pub(super) async fn retag(
        &self,
        retag: &Retag,
        after: i64,
        at_most: u32,
    ) -> Result<RetagStep, Unavailable> {
        let trial = || rehearsal(&self.store, Write::any());
        let done = self.store.retag(retag, after, at_most);
        self.run(LinkOperation::Retag, done, trial).await
    }

    async fn run<T>(
        &self,
        operation: LinkOperation,
        answer: impl Future<Output = Result<T, DatabaseError>>,
        trial: impl FnOnce() -> Trial,
    ) -> Result<T, Unavailable> {
        let done = self.health.run(&self.metrics, operation, answer, trial);
        done.await.map_err(|_| Unavailable)
    }
}
