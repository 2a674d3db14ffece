//! A store as [`Links`](super::Links) uses it: every operation measured, an outage logged when it begins and when it
//! ends, and a store that is known to be away not asked at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};
use tracing::{error, info};

use super::{LinkStore, StoreError};
use crate::telemetry::{StoreMetrics, chain};

/// Between attempts to reach a store that does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long a store may be unreachable before it is not asked any more: requests wait out a restart.
const GRACE: Duration = Duration::from_secs(2);

pub(super) struct ObservedStore {
    store: Arc<dyn LinkStore>,
    metrics: StoreMetrics,
    /// Whether the last operation failed: an outage is logged when it begins and when it ends.
    failing: AtomicBool,
    /// Something failed, and since then no ping was answered.
    suspected: AtomicBool,
    /// That has been so for longer than [`GRACE`]. One slow statement is no outage.
    away: AtomicBool,
    /// How often an operation succeeded in spite of a suspicion.
    successes: AtomicU64,
    /// Wakes [`probe`](Self::probe).
    suspicion: Notify,
}

impl ObservedStore {
    pub(super) fn new(store: Arc<dyn LinkStore>, metrics: StoreMetrics) -> Self {
        Self {
            store,
            metrics,
            failing: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            away: AtomicBool::new(false),
            successes: AtomicU64::new(0),
            suspicion: Notify::new(),
        }
    }

    pub(super) fn store(&self) -> &dyn LinkStore {
        &*self.store
    }

    /// Whether operations would be refused.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Whether it is better not to wait for the store if there is another way.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// Runs an operation that a request waits for.
    ///
    /// # Errors
    /// [`StoreError::Away`] at once while the store is known to be away.
    pub(super) async fn run<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.is_away() {
            return Err(StoreError::Away);
        }
        self.observe(operation, answer).await
    }

    /// Whether the store answers; asks in any case.
    ///
    /// # Errors
    /// [`StoreError`] if it does not.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.observe("ping", self.store.ping()).await
    }

    /// Finds out whether a store that failed is away, and when it is back. Never returns.
    pub(super) async fn probe(&self) {
        loop {
            self.suspicion.notified().await;
            let mut since = Instant::now();
            let mut successes = self.successes.load(Ordering::Relaxed);
            while self.ping().await.is_err() {
                let before = successes;
                successes = self.successes.load(Ordering::Relaxed);
                if successes != before {
                    // The ping was unlucky: it may have begun long before others succeeded.
                    since = Instant::now();
                }
                self.away.store(since.elapsed() >= GRACE, Ordering::Relaxed);
                sleep(PROBE_INTERVAL).await;
            }
        }
    }

    /// The store may be away.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
        self.suspicion.notify_one();
    }

    async fn observe<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timer = self.metrics.start(operation);
        let result = answer.await;
        match &result {
            Ok(_) => {
                timer.succeeded();
                if self.is_suspected() {
                    self.successes.fetch_add(1, Ordering::Relaxed);
                    self.suspected.store(false, Ordering::Relaxed);
                    self.away.store(false, Ordering::Relaxed);
                }
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
                self.suspect();
            }
        }
        result
    }
}
