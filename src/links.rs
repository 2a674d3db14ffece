//! Links: what a short link is, how one is made and how one is followed.
//!
//! Raw input is parsed once, at the edge, into [`TargetUrl`] and [`ShortCode`], which only exist in a
//! valid state. [`Links`] shortens and resolves; behind it a [`LinkStore`] keeps the links.
//!
//! The redirect cache belongs between [`Links::follow`] and the store, and nowhere else: every
//! look-up of a code passes there.
//!
//! Nothing here knows of HTTP or of the configuration file.

mod postgres;
mod short_code;
mod sqlite;
mod store;
mod target_url;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing::{error, info};

pub use postgres::{PostgresOptions, PostgresStore, PostgresUrl};
pub use short_code::{Alias, CodeLength, InvalidAlias, InvalidCodeLength, ShortCode};
pub use sqlite::{SqliteOptions, SqliteStore, SqliteUrl};
pub use store::{
    Created, LinkStore, NewLink, Resolved, StoreError, StoreUsage, TargetHash, Terms, Visit,
};
pub use target_url::{InvalidTarget, TargetUrl};

use crate::telemetry::{StoreMetrics, chain};

/// Random codes of one length that are tried before the next is a character longer.
const ATTEMPTS_PER_LENGTH: usize = 3;

/// How many characters a code may grow by under collisions; 62 times more room with each.
const EXTRA_LENGTH: usize = 4;

/// Shortens and resolves links.
pub struct Links {
    store: Arc<dyn LinkStore>,
    code_length: CodeLength,
    metrics: StoreMetrics,
    /// Whether the last operation failed: an outage is logged when it begins and when it ends.
    failing: AtomicBool,
}

/// Why a link was not made.
#[derive(Debug, thiserror::Error)]
pub enum ShortenError {
    /// Another link has that code.
    #[error("the alias is taken")]
    AliasTaken,
    /// The store cannot answer at the moment; nothing is known to be stored.
    #[error("the links are unavailable")]
    Unavailable(#[source] StoreError),
}

impl Links {
    /// Links kept in `store`, with random codes of `code_length`.
    pub fn new(store: Arc<dyn LinkStore>, code_length: CodeLength, metrics: StoreMetrics) -> Self {
        Self {
            store,
            code_length,
            metrics,
            failing: AtomicBool::new(false),
        }
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
        for extra in 0..=EXTRA_LENGTH {
            for _ in 0..ATTEMPTS_PER_LENGTH {
                let code = ShortCode::random(self.code_length, extra);
                let link = NewLink {
                    code: &code,
                    target,
                    shared: terms.is_unlimited(),
                    terms,
                };
                match self.insert(&link).await? {
                    Created::Stored(code) => return Ok(code),
                    Created::CodeTaken => {}
                }
            }
        }
        Err(ShortenError::Unavailable(StoreError::NoFreeCode))
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

    /// Where `code` leads. A [`Visit::Counted`] visit uses up one of a link's visits if they are limited.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub async fn follow(&self, code: &ShortCode, visit: Visit) -> Result<Resolved, StoreError> {
        self.observed("resolve", self.store.resolve(code, visit))
            .await
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`StoreError`] if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.observed("ping", self.store.ping()).await
    }

    /// The store's name and connections.
    pub fn store_usage(&self) -> (&'static str, StoreUsage) {
        (self.store.name(), self.store.usage())
    }

    /// Closes the store's connections, writing out what they hold.
    pub async fn close(&self) {
        self.store.close().await;
    }

    async fn insert(&self, link: &NewLink<'_>) -> Result<Created, ShortenError> {
        self.observed("insert", self.store.insert(link))
            .await
            .map_err(ShortenError::Unavailable)
    }

    async fn observed<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timer = self.metrics.start(operation);
        let result = answer.await;
        match &result {
            Ok(_) => {
                timer.succeeded();
                if self.failing.load(Ordering::Relaxed)
                    && self.failing.swap(false, Ordering::Relaxed)
                {
                    info!(store = self.store.name(), "the link store is back");
                }
            }
            Err(error) => {
                timer.failed(error.kind());
                if !self.failing.swap(true, Ordering::Relaxed) {
                    error!(
                        store = self.store.name(),
                        operation,
                        error = chain(error),
                        "the link store fails"
                    );
                }
            }
        }
        result
    }
}

/// How long a store may take at start: to be reachable and to be migrated.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// The whole bound, over all attempts.
    pub within: Duration,
}
