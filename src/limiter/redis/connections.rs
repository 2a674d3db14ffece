//! The connections of a node to one server: one in common, and one for each thread that serves requests.
//!
//! A connection counts as lost if it breaks, or if nothing is answered on it for so long that it is no hiccup. The next
//! request that needs it makes another one, for all requests that wait for it. If this fails, Redis is away: then all
//! connections are made anew by the background work, which alone asks the Sentinels.

mod link;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use thread_local::ThreadLocal;
use tokio::{sync::OnceCell, time::timeout};
use tracing::debug;

use self::link::{Made, Own};
use super::{
    connection::{Connection, Connector, Destination, NewConnection},
    run_id::{RunId, ServerRun},
};
use crate::{
    limiter::{WindowStoreError, boot_clock::BootClock, outage::silence_bound},
    telemetry::chain,
};

pub(super) use self::link::Link;

/// How long a thread that could not make a connection uses the common one before it tries again, µs.
const RETRY_MICROS: i64 = 60_000_000;

/// All connections of a node to one server. When the store reconnects, all of them are made anew.
pub(super) struct Connections {
    connector: Connector,
    /// Made in the background. Serves a thread that has no connection of its own, and the background work.
    common: ArcSwapOption<Common>,
    /// One for each thread. The runtime that makes a connection drives it, so with a connection of its own, a thread
    /// wakes no other thread to send a request or to take in the answer.
    own: ThreadLocal<Mutex<Current>>,
    /// How often the store has reconnected.
    epoch: AtomicU64,
    /// The server process that answered when the store last reconnected, if it is known.
    run: Mutex<Option<RunId>>,
    boot: BootClock,
    /// How long a request waits for an answer.
    timeout: Duration,
    /// How long a request may take to make its thread's connection. If that fails, enough time must be left to decide
    /// the request on the common one.
    patience: Duration,
}

/// A connection that serves all threads.
pub(super) struct Common {
    link: Arc<Link>,
    /// Where it leads, and where the threads' own connections must lead: if each thread asked the Sentinels, threads
    /// could count on different masters, and the Sentinels would have to serve all of them at once.
    destination: Destination,
    /// The server process at its other end, and at that of all others.
    run: Option<RunId>,
    /// When the store reconnects, this grows, and connections from before are of no use any more.
    epoch: u64,
    /// The one that takes its place once it is lost.
    next: OnceCell<Arc<Self>>,
}

#[derive(Default)]
struct Current {
    epoch: u64,
    own: Arc<Own>,
}

impl Common {
    pub(super) fn connection(&self) -> &Connection {
        &self.link.connection
    }

    /// Whether `new` leads to the same server process, as far as is known.
    fn is_same_server(&self, new: &NewConnection) -> bool {
        ServerRun::compare(self.run.as_ref(), new.run.as_ref()) != ServerRun::Other
    }
}

impl Connections {
    /// For requests that wait for `timeout`.
    pub(super) fn new(connector: Connector, timeout: Duration, boot: BootClock) -> Self {
        Self {
            connector,
            common: ArcSwapOption::empty(),
            own: ThreadLocal::new(),
            epoch: AtomicU64::new(0),
            run: Mutex::default(),
            boot,
            timeout,
            patience: timeout / 2,
        }
    }

    /// The way to the server.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether the store has connected, and has not given up since.
    pub(super) fn are_established(&self) -> bool {
        self.common.load().is_some()
    }

    /// Finds Redis, and makes a new connection that is not in use yet.
    pub(super) async fn connect(&self) -> Result<Common, WindowStoreError> {
        let (NewConnection { connection, run }, destination) = self.connector.find().await?;
        Ok(Common {
            link: self.link(connection),
            destination,
            run,
            epoch: self.epoch.fetch_add(1, Ordering::Relaxed) + 1,
            next: OnceCell::new(),
        })
    }

    /// Makes `common` the common connection. Returns whether it leads to the same server process as the last one that
    /// was established.
    pub(super) fn establish(&self, common: Common) -> ServerRun {
        let mut before = lock(&self.run);
        let compared = ServerRun::compare(before.as_ref(), common.run.as_ref());
        if common.run.is_some() {
            before.clone_from(&common.run);
        }
        self.common.store(Some(Arc::new(common)));
        compared
    }

    /// Forgets the common connection, and with it those of all threads.
    pub(super) fn give_up(&self) {
        self.common.store(None);
    }

    /// The common connection, if one is established. If it is lost, makes another one.
    ///
    /// # Errors
    /// [`WindowStoreError::Disconnected`]; why another one cannot be made; [`WindowStoreError::Restarted`].
    pub(super) async fn common(&self) -> Result<Arc<Link>, WindowStoreError> {
        let common = self.established()?;
        if !common.link.is_lost() {
            return Ok(common.link.clone());
        }
        // In a box, because this future is large and hardly any caller needs it.
        let next = common
            .next
            .get_or_try_init(|| Box::pin(self.replace(&common)));
        Ok(next.await?.link.clone())
    }

    async fn replace(&self, lost: &Arc<Common>) -> Result<Arc<Common>, WindowStoreError> {
        let new = self.connector.connect(&lost.destination).await?;
        if !lost.is_same_server(&new) {
            return Err(WindowStoreError::Restarted);
        }
        let next = Arc::new(Common {
            link: self.link(new.connection),
            destination: lost.destination.clone(),
            run: new.run.or_else(|| lost.run.clone()),
            epoch: lost.epoch,
            next: OnceCell::new(),
        });
        // Unless the store has given up or reconnected meanwhile.
        self.common
            .compare_and_swap(&Some(lost.clone()), Some(next.clone()));
        Ok(next)
    }

    /// The connection of this thread, unless it has to be made first.
    pub(super) fn at_hand(&self) -> Option<Arc<Link>> {
        let common = self.common.load();
        let common = common.as_ref()?;
        let current = lock(self.own.get_or_default());
        if current.epoch != common.epoch {
            return None;
        }
        match current.own.made.get()? {
            Made::Connected(link) if !link.is_lost() => Some(link.clone()),
            Made::NotConnected { .. } if !common.link.is_lost() => Some(common.link.clone()),
            _ => None,
        }
    }

    /// The connection of this thread. The first request that needs it makes it. Requests that come meanwhile use the
    /// common one, or wait, if it takes the place of one that was lost.
    ///
    /// # Errors
    /// As [`common`](Self::common).
    pub(super) async fn of_this_thread(&self) -> Result<Arc<Link>, WindowStoreError> {
        let common = self.established()?;
        let own = self.own(&common);
        let turn = if own.replaces {
            Some(own.turn.lock().await)
        } else {
            own.turn.try_lock().ok()
        };
        if turn.is_some() && own.made.get().is_none() {
            let made = self.make(&common).await;
            // Only the request that has the turn sets it.
            let _ = own.made.set(made);
        }
        drop(turn);
        match own.made.get() {
            Some(Made::Connected(link)) => Ok(link.clone()),
            Some(Made::Restarted) => Err(WindowStoreError::Restarted),
            Some(Made::NotConnected { .. }) | None => self.common().await,
        }
    }

    /// What there is of this thread's own connection. It is another one than before if that was lost, or if the store
    /// has reconnected since.
    fn own(&self, common: &Common) -> Arc<Own> {
        let mut current = lock(self.own.get_or_default());
        if current.epoch != common.epoch {
            *current = Current {
                epoch: common.epoch,
                own: Arc::default(),
            };
        } else if current.own.is_lost() {
            current.own = Arc::new(Own::in_place_of_a_lost_one());
        }
        current.own.clone()
    }

    async fn make(&self, common: &Common) -> Made {
        let connection = Box::pin(self.connector.connect(&common.destination));
        let connection = timeout(self.patience, connection).await;
        match connection.unwrap_or(Err(WindowStoreError::Timeout(self.patience))) {
            Ok(new) if common.is_same_server(&new) => Made::Connected(self.link(new.connection)),
            Ok(_) => Made::Restarted,
            // Redis may allow no more connections. That does not mean that it is away.
            Err(error) => {
                debug!(
                    error = chain(&error),
                    "this thread has no connection of its own"
                );
                Made::NotConnected {
                    since: self.boot.micros(),
                }
            }
        }
    }

    /// Uses each thread's own connection, so that neither Redis nor a firewall takes it for abandoned. Those that have
    /// ended count as lost. A thread that could not make one tries again now and then.
    pub(super) async fn keep_alive(&self) {
        let own = self.own.iter().filter_map(|current| {
            let mut current = lock(current);
            if let Some(Made::NotConnected { since }) = current.own.made.get()
                && self.boot.micros() - since > RETRY_MICROS
            {
                current.own = Arc::default();
            }
            current.own.link().cloned()
        });
        let used = own.map(|link| async move {
            let sent = self.boot.micros();
            match timeout(self.timeout, link.connection.time()).await {
                Ok(Ok(_)) => link.answered(self.boot.micros()),
                Ok(Err(_)) => link.lose(),
                Err(_) => link.unanswered(sent, self.boot.micros()),
            }
        });
        join_all(used).await;
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        let Some(common) = self.common.load_full() else {
            return 0;
        };
        let own = self.own.iter().map(lock);
        let own =
            own.filter(|current| current.epoch == common.epoch && current.own.link().is_some());
        usize::from(!common.link.is_lost()) + own.count()
    }

    fn established(&self) -> Result<Arc<Common>, WindowStoreError> {
        self.common
            .load_full()
            .ok_or(WindowStoreError::Disconnected)
    }

    fn link(&self, connection: Connection) -> Arc<Link> {
        let bound = silence_bound(self.timeout);
        Arc::new(Link::new(connection, bound, self.boot.micros()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
