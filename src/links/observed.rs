//! A store as [`Links`](super::Links) uses it: every operation measured, an outage logged when it begins and when it
//! ends, and a store that is known to be away not asked at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
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
const GRACE: Duration = Duration::from_secs(5);

/// What is believed of a store. A store that answers anything is fine.
mod belief {
    pub(super) const FINE: u8 = 0;
    /// An operation has failed. One slow statement is no outage.
    pub(super) const SUSPECTED: u8 = 1;
    /// It did not answer a ping either.
    pub(super) const UNREACHABLE: u8 = 2;
    /// That has been so for longer than [`GRACE`](super::GRACE).
    pub(super) const AWAY: u8 = 3;
}

pub(super) struct ObservedStore {
    store: Arc<dyn LinkStore>,
    metrics: StoreMetrics,
    /// Whether the last operation failed: an outage is logged when it begins and when it ends.
    failing: AtomicBool,
    belief: AtomicU8,
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
            belief: AtomicU8::new(belief::FINE),
            successes: AtomicU64::new(0),
            suspicion: Notify::new(),
        }
    }

    pub(super) fn store(&self) -> &dyn LinkStore {
        &*self.store
    }

    /// Whether it had better not be waited for long if there is another way.
    pub(super) fn is_suspected(&self) -> bool {
        self.belief() >= belief::SUSPECTED
    }

    /// Whether it had better not be asked at all if there is another way.
    pub(super) fn is_unreachable(&self) -> bool {
        self.belief() >= belief::UNREACHABLE
    }

    fn belief(&self) -> u8 {
        self.belief.load(Ordering::Relaxed)
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
        if self.belief() == belief::AWAY {
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
                    // The ping was unlucky: it began long before others succeeded.
                    since = Instant::now();
                    continue;
                }
                let away = since.elapsed() >= GRACE;
                let belief = if away {
                    belief::AWAY
                } else {
                    belief::UNREACHABLE
                };
                self.belief.store(belief, Ordering::Relaxed);
                sleep(PROBE_INTERVAL).await;
            }
        }
    }

    /// Has [`probe`](Self::probe) find out whether the store is away: something else than an operation has failed.
    pub(super) fn check(&self, error: &StoreError) {
        // A connection may break for reasons of its own, but what does not answer will not answer others either.
        if matches!(error, StoreError::Timeout(_)) {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
        }
        self.suspicion.notify_one();
    }

    async fn observe<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let measured = self.metrics.measure(operation, answer, StoreError::kind);
        let result = measured.await;
        match &result {
            Ok(_) => {
                if self.is_suspected() {
                    self.successes.fetch_add(1, Ordering::Relaxed);
                    self.belief.store(belief::FINE, Ordering::Relaxed);
                }
                if self.failing.load(Ordering::Relaxed)
                    && self.failing.swap(false, Ordering::Relaxed)
                {
                    info!(store = self.store.name(), "the link store is back");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    error!(
                        store = self.store.name(),
                        operation,
                        error = chain(error),
                        "the link store fails"
                    );
                }
                self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
                self.suspicion.notify_one();
            }
        }
        result
    }
}
