//! Where codes lead, remembered in this process: the redirect cache.
//!
//! | what is remembered | for how long |
//! |---|---|
//! | a link | until it changes; once it has expired, that it is gone, or where it falls back to |
//! | that there is no such link, or that it is gone | [`CacheOptions::miss_ttl`], or until there is one |
//! | a link whose visits are limited | not at all: each visit must be counted |
//!
//! A link is *fresh* while no change of it can have gone unheard: while the store [reports
//! changes](super::LinkStore::watch), has done so since before the link was looked up, and [`CacheOptions::ttl`] is not
//! over. After that the link is *stale*: it is used only if the database does not answer, or not in time.
//!
//! `memory` holds what is remembered; `redirects` decides which answers may be remembered; `lookups` brings the
//! answers, with few queries.

mod lookups;
mod memory;
mod redirects;

use std::{sync::Arc, time::Duration};

use self::{
    lookups::LookUps,
    memory::Remembered,
    redirects::{Flight, RedirectCache},
};
use super::{CacheMetrics, Change, CodeCase, LookUp, Resolved, ShortCode, observed::ObservedStore};

pub(super) use memory::Staleness;

/// How much a cache remembers, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// The most links, at least 1; one whose URL is longer than 256 bytes counts as several.
    pub capacity: usize,
    /// A link is looked up again after this time even if no change of it was reported.
    pub ttl: Duration,
    /// How long an unknown code is taken to be unknown.
    pub miss_ttl: Duration,
}

/// What a cache holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Links.
    pub links: usize,
    /// Codes that lead nowhere.
    pub misses: usize,
    /// Whether the changes of other nodes are heard.
    pub watching: bool,
}

/// What the cache believes of a code.
pub(super) enum Belief {
    /// This is so, and the store need not be asked.
    Certain(Resolved),
    /// The code led here when the store was asked last.
    Stale(Resolved, Staleness),
    /// Nothing is remembered.
    Nothing,
}

/// The redirect cache, in front of a store. It knows codes by their [folded](CodeCase::fold) form.
pub(super) struct Cache {
    code_case: CodeCase,
    redirects: Arc<RedirectCache>,
    look_ups: LookUps,
    pub(super) metrics: CacheMetrics,
}

impl Cache {
    /// Remembers nothing yet. Look-ups wait for [`run`](Self::run) to make them.
    pub(super) fn new(
        options: CacheOptions,
        store: Arc<ObservedStore>,
        metrics: CacheMetrics,
    ) -> Self {
        Self {
            code_case: store.store.code_case(),
            redirects: Arc::new(RedirectCache::new(options)),
            look_ups: LookUps::new(store),
            metrics,
        }
    }

    /// What is believed of a folded code. Counts what is certain as a hit.
    pub(super) fn belief(&self, code: &ShortCode) -> Belief {
        let (resolved, hits) = match self.redirects.get(code) {
            Remembered::Fresh(destination) => (Resolved::Found(destination), &self.metrics.hits),
            Remembered::FallsBack(url) => (Resolved::FallsBack(url), &self.metrics.hits),
            Remembered::Gone => (Resolved::Gone, &self.metrics.negative_hits),
            Remembered::Unknown => (Resolved::Unknown, &self.metrics.negative_hits),
            Remembered::Locked(locked, None) => (Resolved::Locked(locked), &self.metrics.hits),
            Remembered::Locked(locked, Some(staleness)) => {
                return Belief::Stale(Resolved::Locked(locked), staleness);
            }
            Remembered::Stale(destination, staleness) => {
                return Belief::Stale(Resolved::Found(destination.in_doubt()), staleness);
            }
            Remembered::Nothing => return Belief::Nothing,
        };
        hits.inc();
        Belief::Certain(resolved)
    }

    /// What the store knows of a folded code; `None` if it fails. Callers that ask for the same code at the same time wait for
    /// one look-up.
    pub(super) async fn look_up(&self, code: &ShortCode) -> Option<LookUp> {
        let answer = match self.redirects.look_up(code) {
            Flight::Joined(answer) => answer,
            Flight::Begun(answer, landing) => {
                self.look_ups.enqueue(landing);
                answer
            }
        };
        answer.await.ok()
    }

    /// Makes the look-ups. Never returns; when this is dropped, look-ups fail.
    pub(super) async fn run(&self) {
        self.look_ups.run().await;
    }

    /// Notes that something has changed in the store.
    pub(super) fn changed(&self, change: &Change) {
        match change {
            Change::Link(code) => self.forget(code),
            Change::Everything => self.redirects.doubt_everything(),
            Change::Watching => self.redirects.watching(),
        }
    }

    /// Notes that from now on changes may go unheard.
    pub(super) fn lost_sight(&self) {
        self.redirects.lost_sight();
    }

    /// Forgets a code that leads elsewhere now, by any spelling.
    pub(super) fn forget(&self, code: &ShortCode) {
        self.redirects.forget(&self.code_case.fold(code));
    }

    pub(super) fn usage(&self) -> CacheUsage {
        self.redirects.usage()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        db::{Database, Health, Sqlite},
        links::{LinkStore, SqliteLinks, checks},
        telemetry::Metrics,
    };

    const MINUTE: Duration = Duration::from_secs(60);

    async fn cache_of_an_empty_store() -> Cache {
        let sqlite = Sqlite::for_tests("sqlite::memory:").await;
        let store: Arc<dyn LinkStore> = Arc::new(SqliteLinks::new(sqlite.clone()));
        let metrics = Metrics::new().expect("metrics");
        let health = Health::new(
            Database::Sqlite(sqlite),
            checks(&store),
            metrics.store("sqlite"),
        );
        let store = ObservedStore {
            store,
            health: Arc::new(health),
            metrics: metrics.store("sqlite"),
        };
        let options = CacheOptions {
            capacity: 100,
            ttl: MINUTE,
            miss_ttl: MINUTE,
        };
        let metrics = CacheMetrics::new(&metrics).expect("metrics");
        Cache::new(options, Arc::new(store), metrics)
    }

    fn code(text: &str) -> ShortCode {
        ShortCode::parse(text).expect("a code")
    }

    #[tokio::test]
    async fn look_ups_are_made_while_something_runs_them_and_then_fail_at_once() {
        let cache = cache_of_an_empty_store().await;
        let (one, other) = (code("one"), code("other"));
        tokio::select! {
            () = cache.run() => {}
            found = cache.look_up(&one) => assert_eq!(found, Some(LookUp::Unknown)),
        }
        assert_eq!(cache.look_up(&one).now_or_never(), Some(None), "too late");

        let cache = cache_of_an_empty_store().await;
        let mut waiting = Box::pin(cache.look_up(&one));
        assert_eq!((&mut waiting).now_or_never(), None);
        // Begins a query and gives it up.
        assert_eq!(cache.run().now_or_never(), None);
        assert_eq!(waiting.now_or_never(), Some(None), "its query was given up");
        for code in [&one, &other] {
            let look_up = cache.look_up(code);
            assert_eq!(look_up.now_or_never(), Some(None), "too late");
        }
    }
}
