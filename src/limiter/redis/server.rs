//! One server that holds window logs: the only one, or one of a cluster's.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    connection::Connector,
    connections::{Common, Connections, Link},
    doubt::Doubt,
    run_id::ServerRun,
    slots::Address,
};
use crate::limiter::{
    Breaker, WindowStoreError,
    boot_clock::BootClock,
    outage::{Failure, Outage},
};

/// A server, its connections and its breaker. What happens to one server of a cluster concerns no other.
pub struct Server {
    /// Only of a cluster's.
    address: Option<Address>,
    connections: Connections,
    breaker: Breaker,
    away_since: Mutex<Option<Instant>>,
    doubt: Doubt,
    outage: Outage,
    silent: AtomicBool,
    lost_writes: AtomicBool,
    took_over: AtomicBool,
    /// When a request was last led to it although it does not own the slot, µs.
    needed: AtomicI64,
    rejoining: AtomicBool,
    /// Told when there is a connection, or when there will be none.
    connected: Notify,
    /// Told of each failure that is no outage: the background work then looks at once whether it is one.
    suspicion: Notify,
    boot: BootClock,
    timeout: Duration,
}

impl Server {
    /// Connects to nothing yet. Requests wait for `timeout`.
    pub(super) fn new(
        address: Option<Address>,
        connector: Connector,
        timeout: Duration,
        boot: BootClock,
    ) -> Self {
        Self {
            address,
            connections: Connections::new(connector, timeout, boot),
            breaker: Breaker::default(),
            away_since: Mutex::default(),
            doubt: Doubt::new(timeout),
            outage: Outage::new(timeout, boot.micros()),
            silent: AtomicBool::new(false),
            lost_writes: AtomicBool::new(false),
            took_over: AtomicBool::new(false),
            needed: AtomicI64::new(i64::MIN),
            rejoining: AtomicBool::new(false),
            connected: Notify::new(),
            suspicion: Notify::new(),
            boot,
            timeout,
        }
    }

    /// Whether requests ask this server at the moment.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Where it is, if it is one of a cluster's.
    pub fn address(&self) -> Option<String> {
        self.address.as_ref().map(Address::to_string)
    }

    pub(super) fn is_at(&self, address: &Address) -> bool {
        self.address.as_ref() == Some(address)
    }

    /// The host of an address that the server gives without one.
    pub(super) fn host(&self) -> &str {
        self.address.as_ref().map_or("", |address| &address.host)
    }

    /// Opens the breaker, as [`Breaker::trip`] does.
    pub(in crate::limiter) fn trip(&self, generation: u64) -> bool {
        let opened = self.breaker.trip(generation);
        if opened {
            *self.away_since() = Some(Instant::now());
            self.connected.notify_waiters();
        }
        opened
    }

    /// Closes the breaker. Returns how long it was open.
    pub(in crate::limiter) fn close(&self) -> Duration {
        self.breaker.close();
        let since = self.away_since().take();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        let since = self.away_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the server may have lost writes. It stays so through failed attempts to come back.
    pub(in crate::limiter) fn has_lost_writes(&self, lost: bool) {
        self.lost_writes.store(lost, Ordering::Relaxed);
    }

    /// Whether the server may have lost writes since its breaker was last closed.
    pub(in crate::limiter) fn may_have_lost_writes(&self) -> bool {
        self.lost_writes.load(Ordering::Relaxed)
    }

    /// It owns a slot of a server that is away. It must not decide before it has been given what nodes remember.
    pub(super) fn takes_over(&self) {
        self.has_lost_writes(true);
        if let Some(generation) = self.breaker.closed_generation()
            && self.trip(generation)
        {
            self.took_over.store(true, Ordering::Release);
        }
    }

    /// Whether its breaker was opened because it has [taken over](Self::takes_over). Says so once.
    pub(in crate::limiter) fn has_taken_over(&self) -> bool {
        self.took_over.swap(false, Ordering::AcqRel)
    }

    /// A request is led to it although it does not own the slot.
    pub(super) fn is_needed(&self) {
        self.needed.store(self.boot.micros(), Ordering::Relaxed);
    }

    /// Whether such a request came in the last `micros`.
    pub(super) fn was_needed_within(&self, micros: i64) -> bool {
        let needed = self.needed.load(Ordering::Relaxed);
        self.boot.micros().saturating_sub(needed) < micros
    }

    /// Notes whether this node is on its way back: the server is asked, but not all nodes have told it what they know.
    pub(in crate::limiter) fn rejoins(&self, rejoins: bool) {
        self.rejoining.store(rejoins, Ordering::Release);
    }

    /// Whether this node is on its way back.
    pub(in crate::limiter) fn is_rejoining(&self) -> bool {
        self.rejoining.load(Ordering::Acquire)
    }

    /// Told after each call of [`suspect`](Self::suspect).
    pub(in crate::limiter) async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Notes a failure that is no outage.
    pub(in crate::limiter) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Notes that it did not tell the time, or the mark, soon enough.
    pub(super) fn keeps_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether it has answered since it last [kept silent](Self::keeps_silent).
    pub(super) fn has_answered(&self) -> bool {
        !self.silent.load(Ordering::Relaxed)
    }

    /// The server has answered, whatever it said.
    pub(super) fn answered(&self) {
        self.answered_at(self.boot.micros());
    }

    pub(super) fn answered_at(&self, now: i64) {
        self.outage.answered(now);
        self.doubt.answered(now);
        if self.silent.load(Ordering::Relaxed) {
            self.silent.store(false, Ordering::Relaxed);
        }
    }

    /// Whether `error`, with which a request has just failed, shows that the server is away.
    pub(in crate::limiter) fn is_outage(&self, error: &WindowStoreError) -> bool {
        let now = self.boot.micros();
        // What fails because it has waited was sent at least one timeout ago.
        let sent = now - i64::try_from(self.timeout.as_micros()).unwrap_or(i64::MAX);
        Failure::of(error).is_some_and(|failure| self.outage.failed(failure, sent, now))
    }

    /// A round trip without any wait takes so long, µs.
    pub(super) fn usual_round_trip(&self, micros: i64) {
        self.doubt.usual_round_trip(micros);
    }

    /// When the server last answered, µs.
    pub(super) fn last_answered(&self) -> i64 {
        self.doubt.last_answered()
    }

    /// Whether an answer that came at `received`, to what was sent at `sent`, when the server had
    /// [last answered](Self::last_answered) at `ran`, may count too few.
    pub(super) fn is_in_doubt(&self, ran: i64, sent: i64, received: i64) -> bool {
        self.doubt.concerns(ran, sent, received)
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether the background has connected to it, and has not given up since.
    pub(in crate::limiter) fn is_connected(&self) -> bool {
        self.connections.are_established()
    }

    /// Makes `common` the common connection. Requests that waited for it go on.
    pub(super) fn establish(&self, common: Common) -> ServerRun {
        let run = self.connections.establish(common);
        self.connected.notify_waiters();
        run
    }

    /// The connection of this thread, which may have to be made first. If the cluster has named the server only now,
    /// waits until the background has connected to it. The caller bounds the wait.
    ///
    /// # Errors
    /// As [`Connections::of_this_thread`].
    pub(super) async fn connection(&self) -> Result<Arc<Link>, WindowStoreError> {
        loop {
            let mut connected = pin!(self.connected.notified());
            connected.as_mut().enable();
            let is_new = self.address.is_some() && !self.breaker.is_open();
            match self.connections.of_this_thread().await {
                Err(WindowStoreError::Disconnected) if is_new => connected.await,
                connection => return connection,
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server.field("address", &self.address);
        server.field("breaker", &self.breaker);
        server.finish_non_exhaustive()
    }
}
