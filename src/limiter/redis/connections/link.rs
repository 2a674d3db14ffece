//! A connection in use.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Mutex;

use super::super::connection::Connection;
use crate::limiter::outage::Silence;

/// A connection, and whether it still works.
pub(in crate::limiter::redis) struct Link {
    pub(in crate::limiter::redis) connection: Connection,
    silence: Silence,
    /// The shortest silence, µs, after which it counts as lost.
    bound: i64,
    is_lost: AtomicBool,
}

impl Link {
    /// Redis has answered on `connection` at `now`.
    pub(super) fn new(connection: Connection, bound: i64, now: i64) -> Self {
        Self {
            connection,
            silence: Silence::new(now),
            bound,
            is_lost: AtomicBool::new(false),
        }
    }

    /// Redis has answered.
    pub(in crate::limiter::redis) fn answered(&self, now: i64) {
        self.silence.answered(now);
    }

    /// Redis has not answered what was sent at `sent`, although it may answer on other connections: a firewall may have
    /// forgotten this one. Once this has gone on for long enough, the connection counts as lost.
    pub(in crate::limiter::redis) fn unanswered(&self, sent: i64, now: i64) {
        if self.silence.unanswered(sent, now) >= self.bound {
            self.lose();
        }
    }

    /// The connection is of no use any more. The next request that needs one makes another.
    pub(in crate::limiter::redis) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }
}

/// A thread's own connection: what one request has made of it for all requests of the thread.
#[derive(Default)]
pub(super) struct Own {
    /// Whether it replaces one that was lost. Then requests wait for it, because the common one may also be lost.
    pub(super) replaces: bool,
    /// Held by the one request that makes it.
    pub(super) turn: Mutex<()>,
    pub(super) made: OnceLock<Made>,
}

/// How it went.
pub(super) enum Made {
    Connected(Arc<Link>),
    /// Redis may allow no more connections, or be slow to take them. The thread uses the common one from `since` on.
    NotConnected {
        since: i64,
    },
    /// Another server process answers than on the common connection.
    Restarted,
}

impl Own {
    pub(super) fn in_place_of_a_lost_one() -> Self {
        Self {
            replaces: true,
            ..Self::default()
        }
    }

    /// The connection, if it was made and still works.
    pub(super) fn link(&self) -> Option<&Arc<Link>> {
        match self.made.get() {
            Some(Made::Connected(link)) if !link.is_lost() => Some(link),
            _ => None,
        }
    }

    /// Whether it was made, and has been lost since.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.made.get(), Some(Made::Connected(link)) if link.is_lost())
    }
}
