//! A database as the features use it: each operation is measured, an outage is logged when it begins and when it ends,
//! and a database that is known to be away is not asked at all.

mod failures;
mod operation;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{error, info};

use self::failures::{Failures, News};
use super::{Database, DatabaseError};
use crate::telemetry::{self, StoreMetrics, chain};

pub use operation::{Access, Checks, HealthOperation, Operation, Trial};

/// Between attempts to reach a database that does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between trials of what a database fails at though it answers.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a database may be unreachable before it is not asked any more: requests wait out a restart.
const GRACE: Duration = Duration::from_secs(5);

/// What is believed of a database. A database that answers anything is fine.
mod belief {
    pub(super) const FINE: u8 = 0;
    /// An operation has failed. One slow statement is no outage.
    pub(super) const SUSPECTED: u8 = 1;
    /// A ping has failed after that.
    pub(super) const UNREACHABLE: u8 = 2;
    /// That has been so for longer than [`GRACE`](super::GRACE).
    pub(super) const AWAY: u8 = 3;
}

/// The health of one database, kept by all features that ask it.
pub struct Health {
    database: Database,
    checks: Checks,
    metrics: StoreMetrics<HealthOperation>,
    failures: Mutex<Failures>,
    /// Whether `failures` has any.
    has_failures: AtomicBool,
    belief: AtomicU8,
    /// How often an operation succeeded in spite of a suspicion.
    successes: AtomicU64,
    /// Wakes [`probe`](Self::probe).
    suspicion: Notify,
}

/// What a database fails at, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Whether it cannot be read at all, and not only in part.
    pub is_down: bool,
    /// Why some reads fail.
    pub reads: Vec<String>,
    /// Why some writes fail.
    pub writes: Vec<String>,
}

impl Health {
    /// The health of `database`, which is fine until it fails. [`supervise`](Self::supervise) must run for a database that was
    /// away to be asked again.
    pub fn new(database: Database, checks: Checks, metrics: StoreMetrics<HealthOperation>) -> Self {
        Self {
            database,
            checks,
            metrics,
            failures: Mutex::default(),
            has_failures: AtomicBool::new(false),
            belief: AtomicU8::new(belief::FINE),
            successes: AtomicU64::new(0),
            suspicion: Notify::new(),
        }
    }

    /// The database that this is about.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether a caller with an alternative should not wait long for the database.
    pub fn is_suspected(&self) -> bool {
        self.belief() >= belief::SUSPECTED
    }

    /// Whether a caller with an alternative should not ask the database at all.
    pub fn is_unreachable(&self) -> bool {
        self.belief() >= belief::UNREACHABLE
    }

    fn belief(&self) -> u8 {
        self.belief.load(Ordering::Relaxed)
    }

    fn fails(&self, operation: Operation) -> bool {
        self.has_failures.load(Ordering::Relaxed) && self.failures().contains(operation)
    }

    /// Runs an operation that a request waits for, and measures it. If it fails, `trial` has to succeed before the operation
    /// counts as healthy again.
    ///
    /// # Errors
    /// [`DatabaseError::Away`] at once while the database is known to be away; else those of the operation.
    pub async fn run<O: telemetry::Operation + Into<Operation>, T>(
        &self,
        metrics: &StoreMetrics<O>,
        operation: O,
        answer: impl Future<Output = Result<T, DatabaseError>>,
        trial: impl FnOnce() -> Trial,
    ) -> Result<T, DatabaseError> {
        if self.belief() == belief::AWAY {
            return Err(DatabaseError::Away);
        }
        let result = self.observe(metrics, operation, answer).await;
        let operation = operation.into();
        match &result {
            Ok(_) => {
                if self.fails(operation) {
                    // A reason to try again sooner what failed.
                    self.suspicion.notify_one();
                }
            }
            Err(error) => self.failed(operation, error, trial()),
        }
        result
    }

    /// Takes in that an operation has failed, or will fail.
    fn failed(&self, operation: Operation, error: &DatabaseError, trial: Trial) {
        let known = self.fails(operation);
        self.note(|failures| failures.failed(operation, chain(error), trial));
        if !known {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
            self.suspicion.notify_one();
        }
    }

    /// Whether the database answers; asks in any case.
    ///
    /// # Errors
    /// [`DatabaseError`] if it does not.
    async fn ping(&self) -> Result<(), DatabaseError> {
        let ping = self.checks.read.attempt();
        let result = self
            .observe(&self.metrics, HealthOperation::Ping, ping)
            .await;
        match &result {
            Ok(()) => {
                if self.fails(Operation::PING) {
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

    /// What the database fails at. Pings it, as no request may have asked it for a while; `thoroughly` also does a write and
    /// takes it back.
    pub async fn troubles(&self, thoroughly: bool) -> Troubles {
        // `probe` pings an unreachable database all the time.
        let answers = if thoroughly || !self.is_unreachable() {
            self.ping().await.is_ok()
        } else {
            false
        };
        if thoroughly && answers {
            let (operation, write) = &self.checks.write;
            if let Err(error) = self.attempt(write).await {
                self.failed(*operation, &error, write.clone());
            }
        }
        self.known_troubles()
    }

    /// What the database is known to fail at; asks nothing.
    pub fn known_troubles(&self) -> Troubles {
        if !self.has_failures.load(Ordering::Relaxed) {
            return Troubles::default();
        }
        let failures = self.failures();
        if let Some(reason) = failures.reason(Operation::PING) {
            return Troubles {
                is_down: true,
                reads: vec![reason.clone()],
                writes: vec![reason],
            };
        }
        Troubles {
            is_down: false,
            reads: failures.reasons(Access::Read),
            writes: failures.reasons(Access::Write),
        }
    }

    /// The background work: finds out whether a database that failed is away, notices when it is back, and does the
    /// database's own. Never returns.
    pub async fn supervise(&self) {
        let trouble = |error: DatabaseError| {
            let (operation, write) = &self.checks.write;
            self.failed(*operation, &error, write.clone());
        };
        join(self.probe(), self.database.maintain(&trouble)).await;
    }

    /// Finds out whether a database that failed is away, and when it does again everything that it failed at. Never returns.
    async fn probe(&self) {
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
                    // Something fails though the database answers. A success of the same kind is a reason to try sooner.
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

    /// Does again what failed. Returns whether nothing fails any more.
    async fn try_again(&self) -> bool {
        let trials = self.failures().trials();
        for (operation, trial) in trials {
            match self.attempt(&trial).await {
                Ok(()) => self.note(|failures| failures.trial_succeeded(operation)),
                Err(error) => {
                    if self.ping().await.is_err() {
                        // The database has ceased to answer: this says nothing of the operation.
                        return false;
                    }
                    self.note(|failures| failures.trial_failed(operation, chain(&error)));
                }
            }
        }
        !self.has_failures.load(Ordering::Relaxed)
    }

    async fn attempt(&self, trial: &Trial) -> Result<(), DatabaseError> {
        let attempt = trial.attempt();
        self.observe(&self.metrics, HealthOperation::Trial, attempt)
            .await
    }

    /// Takes in that something other than an operation has failed, and finds out whether the database is away.
    pub fn check(&self, error: &DatabaseError) {
        // A connection may break for reasons of its own, but a database that does not answer one will not answer others.
        if matches!(error, DatabaseError::Timeout(_)) {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
        }
        self.suspicion.notify_one();
    }

    /// Measures an answer. Any success is a sign of life.
    async fn observe<O: telemetry::Operation, T>(
        &self,
        metrics: &StoreMetrics<O>,
        operation: O,
        answer: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let measured = metrics.measure(operation, answer, DatabaseError::kind);
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
        self.has_failures
            .store(!failures.is_empty(), Ordering::Relaxed);
        drop(failures);
        let store = self.database.name();
        match news {
            None => {}
            Some(News::IsBack) => info!(store, "the database is back"),
            Some(News::Fails(operation, error)) => {
                let operation = operation.name;
                error!(store, operation, error, "the database fails");
            }
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
