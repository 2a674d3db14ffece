//! Links: what a short link is, how one is made and how one is followed.
//!
//! Raw input is parsed once, at the edge, into [`TargetUrl`] and [`ShortCode`], which only exist in a
//! valid state. [`Links`] shortens and follows; behind it a [`LinkStore`] keeps the links. Between
//! [`Links::follow`] and the store stands the redirect cache: every look-up of a code passes there.
//!
//! Nothing here knows of HTTP or of the configuration file.

mod cache;
mod lookups;
mod merged;
mod metrics;
mod observed;
mod postgres;
mod schemes;
mod short_code;
mod sqlite;
mod store;
mod target_url;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{join, join3};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    cache::{RedirectCache, Remembered, Staleness},
    lookups::LookUps,
    merged::Merged,
    observed::{ObservedStore, Operation, Trial},
};

pub use cache::CacheOptions;
pub use metrics::{CacheMetrics, LinkOperation, register_link_metrics};
pub use observed::StoreTroubles;
pub use postgres::{PostgresOptions, PostgresStore, PostgresUrl};
pub use schemes::{InvalidScheme, NoSchemes, Scheme, Schemes};
pub use short_code::{Alias, CodeLength, InvalidAlias, InvalidCodeLength, ShortCode};
pub use sqlite::{SqliteOptions, SqliteStore, SqliteUrl};
pub use store::{
    Change, Created, Link, LinkStore, LookUp, NewLink, Resolved, StoreError, StoreUsage,
    TargetHash, Terms, Visit, Write,
};
pub use target_url::{InvalidTarget, TargetUrl};

use crate::telemetry::{StoreMetrics, chain};

/// Random codes of one length that are tried before the next is a character longer.
const ATTEMPTS_PER_LENGTH: usize = 3;

/// How many characters a code may grow by under collisions; 62 times more room with each.
const EXTRA_LENGTH: usize = 4;

/// How long a request waits for a link to be looked up again while it had better believe in what is remembered: because
/// nobody has said that it changed, or because the store seems to be away.
const PATIENCE: Duration = Duration::from_millis(100);

/// Between attempts to hear of changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Shortens and follows links.
pub struct Links {
    store: Arc<ObservedStore>,
    code_length: CodeLength,
    shared: Arc<Merged<Result<ShortCode, ShortenError>>>,
    cache: Option<Cache>,
}

struct Cache {
    redirects: Arc<RedirectCache>,
    look_ups: LookUps,
    metrics: CacheMetrics,
}

impl Cache {
    /// One look-up for all who ask for the same code at the same time; `None` if the store failed.
    async fn look_up(&self, code: &ShortCode) -> Option<LookUp> {
        let look_up = |landing| self.look_ups.look_up(landing);
        self.redirects.look_up(code, look_up).await
    }
}

/// What is remembered of links at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Links.
    pub links: usize,
    /// Codes that lead nowhere.
    pub misses: usize,
    /// Whether changes of other nodes are heard.
    pub watching: bool,
}

/// The store could not be asked. What was wrong is logged and counted where it failed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the links are unavailable")]
pub struct Unavailable;

/// Why a link was not made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ShortenError {
    /// Another link has that code.
    #[error("the alias is taken")]
    AliasTaken,
    /// The store cannot answer at the moment; nothing is known to be stored.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Links {
    /// Links kept in `store`, with random codes of `code_length`. [`supervise`](Self::supervise) must run for a store
    /// that was away to be asked again, and for anything to be served from the cache.
    pub fn new(
        store: Arc<dyn LinkStore>,
        code_length: CodeLength,
        metrics: StoreMetrics<LinkOperation>,
    ) -> Self {
        Self {
            store: Arc::new(ObservedStore::new(store, metrics)),
            code_length,
            shared: Merged::new(),
            cache: None,
        }
    }

    /// Remembers where codes lead.
    #[must_use]
    pub fn with_cache(mut self, options: CacheOptions, metrics: CacheMetrics) -> Self {
        self.cache = Some(Cache {
            redirects: Arc::new(RedirectCache::new(options)),
            look_ups: LookUps::new(self.store.clone()),
            metrics,
        });
        self
    }

    /// The code of a link to `target`: the one it already has, or a new one.
    ///
    /// Links with `terms` of their own (an expiry, a number of visits) are never shared: each gets a new code.
    /// On success the link is committed.
    ///
    /// # Errors
    /// [`ShortenError::Unavailable`] if the store fails, or if every code that was tried is taken.
    pub async fn shorten(
        &self,
        target: &TargetUrl,
        terms: Terms,
    ) -> Result<ShortCode, ShortenError> {
        if !terms.is_unlimited() {
            return self.insert_random(target, false, terms).await;
        }
        let insert = self.insert_random(target, true, terms);
        self.shared.run(store::target_hash(target), insert).await
    }

    /// Tries random codes until one is free.
    async fn insert_random(
        &self,
        target: &TargetUrl,
        shared: bool,
        terms: Terms,
    ) -> Result<ShortCode, ShortenError> {
        for extra in 0..=EXTRA_LENGTH {
            for _ in 0..ATTEMPTS_PER_LENGTH {
                let code = ShortCode::random(self.code_length, extra);
                let link = NewLink {
                    code: &code,
                    target,
                    shared,
                    terms,
                };
                match self.insert(&link).await? {
                    Created::Stored(code) => return Ok(code),
                    Created::CodeTaken => {}
                }
            }
        }
        error!("every random code that was tried is taken: links.code_length is too small");
        Err(Unavailable.into())
    }

    /// Makes a link to `target` under a code of the caller's choice.
    ///
    /// # Errors
    /// [`ShortenError::AliasTaken`] if any link has that code, be it to the same target.
    pub async fn shorten_as(
        &self,
        alias: Alias,
        target: &TargetUrl,
        terms: Terms,
    ) -> Result<ShortCode, ShortenError> {
        let code = alias.into_code();
        let link = NewLink {
            code: &code,
            target,
            shared: false,
            terms,
        };
        match self.insert(&link).await? {
            Created::Stored(code) => Ok(code),
            Created::CodeTaken => Err(ShortenError::AliasTaken),
        }
    }

    /// Where `code` leads. If the link's visits are limited, a [`Visit::Counted`] visit uses up one of them, and any other is
    /// not told. What `visit` is matters to no other link, and is not asked for one that is remembered.
    ///
    /// # Errors
    /// [`Unavailable`] if the store had to be asked, and cannot answer.
    pub async fn follow(
        &self,
        code: &ShortCode,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let Some(cache) = &self.cache else {
            let codes = std::slice::from_ref(code);
            let look_up = self.store.store().look_up(codes);
            let trial = || Trial::LookUp(codes.to_vec());
            let found = self.store.run(Operation::LookUp, look_up, trial).await;
            let found = found.map_err(|_| Unavailable)?.pop();
            return self
                .arrive(code, found.unwrap_or(LookUp::Unknown), visit)
                .await;
        };
        let metrics = &cache.metrics;
        let (stale, doubtful) = match cache.redirects.get(code) {
            Remembered::Fresh(url) => {
                metrics.hits.inc();
                return Ok(Resolved::Found(url));
            }
            Remembered::Gone => {
                metrics.negative_hits.inc();
                return Ok(Resolved::Gone);
            }
            Remembered::Unknown => {
                metrics.negative_hits.inc();
                return Ok(Resolved::Unknown);
            }
            Remembered::Stale(url, _) if self.store.is_unreachable() => {
                metrics.stale.inc();
                return Ok(Resolved::Found(url));
            }
            Remembered::Stale(url, staleness) => (Some(url), staleness == Staleness::Doubtful),
            Remembered::Nothing => (None, true),
        };
        let mut look_up = pin!(cache.look_up(code));
        let looked_up = loop {
            match timeout(PATIENCE, look_up.as_mut()).await {
                Ok(looked_up) => break looked_up,
                // A doubtful link may lead elsewhere by now: only a store that fails is a reason to believe in it.
                Err(_) if stale.is_none() || (doubtful && !self.store.is_suspected()) => {}
                Err(_) => break None,
            }
        };
        match (looked_up, stale) {
            (Some(found), _) => {
                metrics.misses.inc();
                self.arrive(code, found, visit).await
            }
            (None, Some(url)) => {
                metrics.stale.inc();
                Ok(Resolved::Found(url))
            }
            (None, None) => {
                metrics.misses.inc();
                Err(Unavailable)
            }
        }
    }

    /// Where a code leads that was just looked up; the visit is counted if the link's visits are limited.
    async fn arrive(
        &self,
        code: &ShortCode,
        found: LookUp,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let link = match found {
            LookUp::Found(link) => link,
            LookUp::Gone => return Ok(Resolved::Gone),
            LookUp::Unknown => return Ok(Resolved::Unknown),
        };
        if !link.limited {
            return Ok(Resolved::Found(link.url));
        }
        if visit() == Visit::Uncounted {
            return Ok(Resolved::Withheld);
        }
        Ok(if self.count_visit(code).await? {
            Resolved::Visited(link.url)
        } else {
            Resolved::Gone
        })
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, Unavailable> {
        let count = self.store.store().count_visit(code);
        let trial = || Trial::Write(Write::Visit(code.clone()));
        let counted = self.store.run(Operation::Visit, count, trial).await;
        counted.map_err(|_| Unavailable)
    }

    /// The background work, until `stop`: hears of changes that others make, and notices when a store that was away
    /// is back.
    pub async fn supervise(&self, stop: CancellationToken) {
        let cache = async {
            if let Some(cache) = &self.cache {
                join(self.watch(&cache.redirects), cache.look_ups.run()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = join3(self.store.probe(), self.store.maintain(), cache) => {}
        }
    }

    async fn watch(&self, redirects: &RedirectCache) {
        let deaf = AtomicBool::new(false);
        let heard = |change| {
            if change == Change::Watching && deaf.swap(false, Ordering::Relaxed) {
                info!("changes that others make to links are heard again");
            }
            redirects.changed(&change);
        };
        loop {
            let error = self.store.store().watch(&heard).await;
            redirects.lost_sight();
            self.store.check(&error);
            if !deaf.swap(true, Ordering::Relaxed) {
                warn!(
                    error = chain(&error),
                    "changes that others make to links go unheard: redirects ask the store"
                );
            }
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// What the store fails at; asks it, `thoroughly` also whether it takes writes: by one that is taken back.
    pub async fn troubles(&self, thoroughly: bool) -> StoreTroubles {
        self.store.troubles(thoroughly).await
    }

    /// What the store is known to fail at; asks nothing.
    pub fn known_troubles(&self) -> StoreTroubles {
        self.store.known_troubles()
    }

    /// Whether other nodes may depend on the same store.
    pub fn store_is_shared(&self) -> bool {
        self.store.store().is_shared()
    }

    /// The store's name and connections.
    pub fn store_usage(&self) -> (&'static str, StoreUsage) {
        let store = self.store.store();
        (store.name(), store.usage())
    }

    /// What the cache holds, if there is one.
    pub fn cache_usage(&self) -> Option<CacheUsage> {
        let Cache { redirects, .. } = self.cache.as_ref()?;
        let (links, misses) = redirects.len();
        Some(CacheUsage {
            links,
            misses,
            watching: redirects.is_watching(),
        })
    }

    /// Closes the store's connections.
    pub async fn close(&self) {
        self.store.store().close().await;
    }

    async fn insert(&self, link: &NewLink<'_>) -> Result<Created, ShortenError> {
        let insert = self.store.store().insert(link);
        let trial = || Trial::Write(link.into());
        let created = self.store.run(Operation::Insert, insert, trial).await;
        let created = created.map_err(|_| Unavailable)?;
        if let (Created::Stored(code), Some(cache)) = (&created, &self.cache)
            && code == link.code
        {
            // It is new, and somebody may just have asked whether it is free.
            cache.redirects.forget(code);
        }
        Ok(created)
    }
}

/// How long a store may take at start: to be reachable and to be migrated.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// The whole bound, over all attempts.
    pub within: Duration,
}
