//! Links: what a short link is, how one is made and how one is followed.
//!
//! | file | what it is about |
//! |---|---|
//! | `code`, `target`, `terms`, `options`, `schemes` | what a link consists of; raw input is parsed once, at the edge, into types that only exist in a valid state |
//! | `case` | whether codes that differ only by case are one code |
//! | `shorten` | how a link is made |
//! | `follow` | how a link is followed: by what the cache believes, or by a look-up |
//! | `record` | what those who manage a link see of it |
//! | `edit` | what they may do to it, and when not |
//! | `manage` | how it is done; and the end of deleted links |
//! | `password` | what is kept of a link's password, and the proof that somebody has given it |
//! | `about` | what everybody may know of a link |
//! | `untitled` | links that were made without a title, and the titles that they get later |
//! | `find` | how links are listed and searched; the index of what they contain |
//! | `tags` | how many links have a tag, or an owner; how a tag gets another name |
//! | `visit` | when a visit counts, and what a request learns without one |
//! | `cache` | where codes lead, remembered in this process; every look-up of a code passes there |
//! | `watch` | hearing of changes that others make |
//! | `store`, `management` | the trait of a store of links, and its part for those who manage links; `postgres` and `sqlite` implement both, and those of `find` and `tags` |
//! | `observed` | a store with the health of its database in front |
//! | `metrics` | what is measured of the store and the cache |
//!
//! Nothing here knows of HTTP or of the configuration file.

mod about;
mod cache;
mod case;
mod code;
mod edit;
mod find;
mod follow;
mod manage;
mod management;
mod metrics;
mod observed;
mod options;
mod password;
mod postgres;
mod record;
mod row;
mod schemes;
mod shorten;
mod sqlite;
mod store;
mod tags;
mod target;
mod terms;
mod untitled;
mod visit;
mod watch;

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use self::{cache::Cache, observed::ObservedStore, password::Passwords};

pub use about::{About, NotTold};
pub use cache::{CacheOptions, CacheUsage};
pub use case::{CaseConflicts, CodeCase, IgnoreCaseError};
pub use code::{Alias, CodeLength, InvalidAlias, InvalidCodeLength, ShortCode};
pub use edit::{Edit, EditRefusal, Edited, Editor, LinkChange, MAX_FURTHER_CODES, Operation, Part};
pub use find::{
    Between, Indexed, InvalidTerm, LinkFilter, LinkPage, LinkQuery, LinkSearch, Look, Order,
    SearchTerm, Whose,
};
pub use management::LinkManagement;
pub use metrics::{CacheMetrics, LinkOperation, PasswordMetrics, register_cache_metrics};
pub use observed::checks;
pub use options::{
    InvalidLabel, InvalidRedirect, Labels, LinkOptions, Manner, Note, Redirect, Tags, Title,
};
pub use password::{InvalidPassword, NotHashed, PASSWORD_PATIENCE, Password, PasswordHash, Place};
pub use postgres::PostgresLinks;
pub use record::{InvalidState, LinkRecord, LinkState, Version};
pub use schemes::{InvalidScheme, NoSchemes, Scheme, Schemes};
pub use shorten::{Made, ShortenError, Wanted, WantedCode};
pub use sqlite::SqliteLinks;
pub use store::{Change, Created, Link, LinkStore, LookUp, NewLink, Write};
pub use tags::{LinkTags, OwnerCount, Retag, RetagStep, Retagged, TagCount};
pub use target::{InvalidTarget, MAX_TARGET_LENGTH, TargetUrl};
pub use terms::{Expiry, Terms};
pub use untitled::{Entitled, Untitled};
pub use visit::{Destination, LockedLink, Resolved, Visit};

pub use crate::db::Troubles;

use crate::{db::Health, telemetry::StoreMetrics};

/// Shortens and follows links.
pub struct Links {
    store: Arc<ObservedStore>,
    code_length: CodeLength,
    code_case: CodeCase,
    cache: Option<Cache>,
    untitled: Option<untitled::Listener>,
    restore_for: Duration,
    passwords: Passwords,
    /// For each request that asks the store what a link is.
    asked_about: Semaphore,
    /// One permit for each page that may be looked for at the same time.
    searches: Semaphore,
    counts: tags::Counts,
}

/// The store could not be asked. What was wrong is logged and counted where it failed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the links are unavailable")]
pub struct Unavailable;

impl Links {
    /// Links kept in `store`, with random codes of `code_length`. `health` is that of the store's database, with the
    /// [`checks`] of links. [`supervise`](Self::supervise) must run: without it, a database that was away is never
    /// asked again, and a cache makes no look-up.
    pub fn new(
        store: Arc<dyn LinkStore>,
        health: Arc<Health>,
        metrics: StoreMetrics<LinkOperation>,
        passwords: PasswordMetrics,
        code_length: CodeLength,
    ) -> Self {
        let code_case = store.code_case();
        let store = ObservedStore {
            store,
            health,
            metrics,
        };
        Self {
            store: Arc::new(store),
            code_length,
            code_case,
            cache: None,
            untitled: None,
            restore_for: manage::RESTORE_FOR,
            passwords: Passwords::new(passwords),
            asked_about: Semaphore::new(about::AT_ONCE),
            searches: Semaphore::new(find::AT_ONCE),
            counts: tags::Counts::default(),
        }
    }

    /// Keeps deleted links for this long, and not for 7 days.
    #[must_use]
    pub fn restorable_for(mut self, restore_for: Duration) -> Self {
        self.restore_for = restore_for;
        self
    }

    /// Remembers where codes lead.
    #[must_use]
    pub fn with_cache(mut self, options: CacheOptions, metrics: CacheMetrics) -> Self {
        self.cache = Some(Cache::new(options, self.store.clone(), metrics));
        self
    }

    /// What the database fails at. Pings it first. If `thoroughly`, also does a write and takes it back.
    pub async fn troubles(&self, thoroughly: bool) -> Troubles {
        self.store.health.troubles(thoroughly).await
    }

    /// Whether other nodes may use the same store.
    pub fn store_is_networked(&self) -> bool {
        self.store.health.database().is_networked()
    }

    /// The name of the database in metrics and logs.
    pub fn store_name(&self) -> &'static str {
        self.store.health.database().name()
    }

    /// What the cache holds, if there is one.
    pub fn cache_usage(&self) -> Option<CacheUsage> {
        self.cache.as_ref().map(Cache::usage)
    }

    /// Closes the database's connections.
    pub async fn close(&self) {
        self.store.health.database().close().await;
    }
}
