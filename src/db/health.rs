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

/// The longest pause between trials while the database answers but something fails.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a database may be unreachable before requests stop asking it. So requests wait while the database restarts.
const GRACE: Duration = Duration::from_secs(5);

/// What the node believes of the database. After any success it is fine.
mod belief {
    pub(super) const FINE: u8 = 0;
    /// An operation has failed. One slow statement is no outage.
    pub(super) const SUSPECTED: u8 = 1;
    /// A ping has failed after that.
    pub(super) const UNREACHABLE: u8 = 2;
    /// It has been unreachable for longer than [`GRACE`](super::GRACE).
    pub(super) const AWAY: u8 = 3;
}

/// The health of one database, for all features that ask it.
pub struct Health {
    database: Database,
    checks: Checks,
    metrics: StoreMetrics<HealthOperation>,
    failures: Mutex<Failures>,
    /// Whether `failures` is not empty. Requests read this without a lock.
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
    /// The health of `database`, which counts as fine at first. [`supervise`](Self::supervise) must run: without it, a
    /// database that was away is never asked again.
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

    /// Runs an operation that a request waits for, and measures it. If it fails, `trial` has to succeed before the
    /// operation counts as healthy again.
    ///
    /// # Errors
    /// [`DatabaseError::Away`] at once while the database is known to be away; otherwise the error of the operation.
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
                    // What failed may work again: a reason to try it sooner.
                    self.suspicion.notify_one();
                }
            }
            Err(error) => self.failed(operation, error, trial()),
        }
        result
    }

    /// Notes that an operation has failed, or would fail.
    fn failed(&self, operation: Operation, error: &DatabaseError, trial: Trial) {
        let known = self.fails(operation);
        self.note(|failures| failures.failed(operation, chain(error), trial));
        if !known {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
            self.suspicion.notify_one();
        }
    }

    /// Asks whether the database answers, even if it is known to be away.
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

    /// What the database fails at. Pings it first, because no request may have asked it for a while. If `thoroughly`,
    /// also does a write and takes it back.
    pub async fn troubles(&self, thoroughly: bool) -> Troubles {
        // `probe` pings an unreachable database anyway.
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

    /// What the database is known to fail at, without asking it.
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
    /// background work of the database itself. Never returns.
    pub async fn supervise(&self) {
        let trouble = |error: DatabaseError| {
            let (operation, write) = &self.checks.write;
            self.failed(*operation, &error, write.clone());
        };
        join(self.probe(), self.database.maintain(&trouble)).await;
    }

    /// After a failure, finds out whether the database is away, and repeats what failed until all of it works again.
    /// Never returns.
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
                    // The database answers, but something still fails. If a request succeeds at it, try sooner.
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
                    // Other operations succeeded in the meantime, so this ping was only unlucky.
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

    /// Repeats what failed. Returns whether all of it works again.
    async fn try_again(&self) -> bool {
        let trials = self.failures().trials();
        for (operation, trial) in trials {
            match self.attempt(&trial).await {
                Ok(()) => self.note(|failures| failures.trial_succeeded(operation)),
                Err(error) => {
                    if self.ping().await.is_err() {
                        // The database no longer answers at all, so this says nothing about the operation.
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

    /// Notes that something other than an operation has failed, and makes [`supervise`](Self::supervise) find out
    /// whether the database is away.
    pub fn check(&self, error: &DatabaseError) {
        // One connection may break by itself. But a database that does not answer on one will not answer on others.
        if matches!(error, DatabaseError::Timeout(_)) {
            self.belief.fetch_max(belief::SUSPECTED, Ordering::Relaxed);
        }
        self.suspicion.notify_one();
    }

    /// Waits for an answer and measures it. Any success proves that the database is not away.
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

    /// Changes the list of failures, and logs a line if the change is news.
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
