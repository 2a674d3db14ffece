//! A store as [`Links`](super::Links) uses it: every operation measured, an outage logged when it begins and when it
//! ends, and a store that is known to be away not asked at all.

mod failures;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{error, info};

use self::failures::{Failures, News};
use super::{LinkOperation, LinkStore, StoreError, Write};
use crate::telemetry::{StoreMetrics, chain};

pub(super) use failures::{Operation, Trial};

/// Between attempts to reach a store that does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between attempts to do again what a store that answers has failed to do.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

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
    metrics: StoreMetrics<LinkOperation>,
    failures: Mutex<Failures>,
    /// The bits of the operations in `failures`.
    failing: AtomicU8,
    belief: AtomicU8,
    /// How often an operation succeeded in spite of a suspicion.
    successes: AtomicU64,
    /// Wakes [`probe`](Self::probe).
    suspicion: Notify,
}

/// Why a store does not do what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreTroubles {
    /// Whether no link can be looked up, and not only some.
    pub is_down: bool,
    /// Why links cannot be looked up.
    pub reads: Vec<String>,
    /// Why links cannot be made, or visits not be counted.
    pub writes: Vec<String>,
}

impl ObservedStore {
    pub(super) fn new(store: Arc<dyn LinkStore>, metrics: StoreMetrics<LinkOperation>) -> Self {
        Self {
            store,
            metrics,
            failures: Mutex::default(),
            failing: AtomicU8::new(0),
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

    /// Runs an operation that a request waits for. Should it fail, `trial` is what has to succeed before the store is said
    /// to be back.
    ///
    /// # Errors
    /// [`StoreError::Away`] at once while the store is known to be away.
    pub(super) async fn run<T>(
        &self,
        operation: Operation,
        answer: impl Future<Output = Result<T, StoreError>>,
        trial: impl FnOnce() -> Trial,
    ) -> Result<T, StoreError> {
        if self.belief() == belief::AWAY {
            return Err(StoreError::Away);
        }
        let result = self.observe(operation.measured(), answer).await;
        match &result {
            Ok(_) => {
                if self.failing.load(Ordering::Relaxed) & operation.bit() != 0 {
                    // A reason to try again what failed, rather sooner than later.
                    self.suspicion.notify_one();
                }
            }
            Err(error) => self.failed(operation, error, trial()),
        }
        result
    }

    /// An operation has failed, or will.
    pub(super) fn failed(&self, operation: Operation, error: &StoreError, trial: Trial) {
        let known = self.failing.load(Ordering::Relaxed) & operation.bit() != 0;
        self.note(|failures| failures.failed(operation, chain(error), trial));
        if !known {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
            self.suspicion.notify_one();
        }
    }

    /// Whether the store answers; asks in any case.
    ///
    /// # Errors
    /// [`StoreError`] if it does not.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let result = self.observe(LinkOperation::Ping, self.store.ping()).await;
        match &result {
            Ok(()) => {
                if self.failing.load(Ordering::Relaxed) & Operation::Ping.bit() != 0 {
                    self.note(Failures::ping_succeeded);
                }
            }
            Err(error) => {
                self.note(|failures| failures.ping_failed(chain(error)));
                self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
                self.suspicion.notify_one();
            }
        }
        result
    }

    /// What the store fails at. If nobody has asked it for a while, that has to be found out; `thoroughly` does a write,
    /// and takes it back.
    pub(super) async fn troubles(&self, thoroughly: bool) -> StoreTroubles {
        // While it is unreachable it is pinged all the time.
        let answers = if thoroughly || !self.is_unreachable() {
            self.ping().await.is_ok()
        } else {
            false
        };
        if thoroughly && answers {
            let write = Trial::Write(Write::any());
            if let Err(error) = self.attempt(&write).await {
                self.failed(Operation::Insert, &error, write);
            }
        }
        self.known_troubles()
    }

    /// What the store is known to fail at.
    pub(super) fn known_troubles(&self) -> StoreTroubles {
        if self.failing.load(Ordering::Relaxed) == 0 {
            return StoreTroubles::default();
        }
        let failures = self.failures();
        let reasons = |operations: &[Operation]| {
            let reasons = operations.iter().filter_map(|&o| failures.reason(o));
            reasons.collect()
        };
        if let Some(reason) = failures.reason(Operation::Ping) {
            return StoreTroubles {
                is_down: true,
                reads: vec![reason.clone()],
                writes: vec![reason],
            };
        }
        StoreTroubles {
            is_down: false,
            reads: reasons(&[Operation::LookUp]),
            writes: reasons(&[Operation::Insert, Operation::Visit]),
        }
    }

    /// Finds out whether a store that failed is away, and when it does again all that it failed to do. Never returns.
    pub(super) async fn probe(&self) {
        loop {
            self.suspicion.notified().await;
            let mut since = Instant::now();
            let mut successes = self.successes.load(Ordering::Relaxed);
            let mut pause = PROBE_INTERVAL;
            loop {
                if self.ping().await.is_ok() {
                    if self.try_again().await {
                        break;
                    }
                    // Something fails though the store answers. A success of the same kind is a reason to try sooner.
                    sleep(pause / 2).await;
                    let _ = timeout(pause / 2, self.suspicion.notified()).await;
                    pause = (pause * 2).min(TRIAL_INTERVAL);
                    since = Instant::now();
                    continue;
                }
                pause = PROBE_INTERVAL;
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

    /// Does again what failed; whether nothing fails any more.
    async fn try_again(&self) -> bool {
        let trials = self.failures().trials();
        for (operation, trial) in trials {
            match self.attempt(&trial).await {
                Ok(()) => self.note(|failures| failures.trial_succeeded(operation)),
                Err(error) => {
                    if self.ping().await.is_err() {
                        // It has ceased to answer: no news of this operation.
                        return false;
                    }
                    self.note(|failures| failures.trial_failed(operation, chain(&error)));
                }
            }
        }
        self.failing.load(Ordering::Relaxed) == 0
    }

    async fn attempt(&self, trial: &Trial) -> Result<(), StoreError> {
        let attempt = async {
            match trial {
                Trial::LookUp(codes) => self.store.look_up(codes).await.map(drop),
                Trial::Write(write) => self.store.rehearse(write).await,
            }
        };
        self.observe(LinkOperation::Trial, attempt).await
    }

    /// Has [`probe`](Self::probe) find out whether the store is away: something else than an operation has failed.
    pub(super) fn check(&self, error: &StoreError) {
        // A connection may break for reasons of its own, but what does not answer will not answer others either.
        if matches!(error, StoreError::Timeout(_)) {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
        }
        self.suspicion.notify_one();
    }

    /// Does what the store has to do beside answering. Never returns.
    pub(super) async fn maintain(&self) {
        let trouble = |error: StoreError| {
            self.failed(Operation::Insert, &error, Trial::Write(Write::any()));
        };
        self.store.maintain(&trouble).await;
    }

    async fn observe<T>(
        &self,
        operation: LinkOperation,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let measured = self.metrics.measure(operation, answer, StoreError::kind);
        let result = measured.await;
        if result.is_ok() && self.is_suspected() {
            self.successes.fetch_add(1, Ordering::Relaxed);
            self.belief.store(belief::FINE, Ordering::Relaxed);
        }
        result
    }

    /// Changes what is known of failures, and logs the news in it.
    fn note(&self, change: impl FnOnce(&mut Failures) -> Option<News>) {
        let mut failures = self.failures();
        let news = change(&mut failures);
        self.failing.store(failures.bits(), Ordering::Relaxed);
        drop(failures);
        let store = self.store.name();
        match news {
            None => {}
            Some(News::IsBack) => info!(store, "the link store is back"),
            Some(News::Fails(operation, error)) => {
                let operation = operation.name();
                error!(store, operation, error, "the link store fails");
            }
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
