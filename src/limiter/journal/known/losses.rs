//! What shows that Redis has lost entries of a client.

use super::{AHEAD, Known, Own, State, limit};
use crate::limiter::{Decision, LogTime, Quota};

/// What Redis had of a client when a request arrived, as far as it is certain to count for that request. Whatever came
/// to be known later may have come to Redis after the request, even if the answer to the request comes last: requests of
/// one client overtake each other on the connections of different threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How many entries; at most L.
    entries: usize,
    /// When the oldest entry of this node was logged.
    oldest: Option<LogTime>,
}

impl Seen {
    /// Whether an answer can be right: Redis had `entries` after the request, and the `oldest` of them, if the answer says
    /// so, was logged then.
    pub(super) fn agrees(self, entries: usize, oldest: Option<LogTime>) -> bool {
        let is_missed = oldest
            .zip(self.oldest)
            .is_some_and(|(oldest, seen)| seen < oldest);
        entries > self.entries && !is_missed
    }
}

impl Known {
    /// What Redis has that is certain to count for a request that arrives at `at`.
    pub(super) fn seen(&self, quota: Quota, at: LogTime) -> Seen {
        let certain = certain(quota, at);
        let first = self.own.partition_point(|own| own.entry.at <= certain);
        let own = (self.own.len() - first).saturating_sub(self.unshared);
        let others = match self.told {
            Some(told) if told.exact && told.deciding > certain => told.others,
            _ => 0,
        };
        let shared = |own: &&Own| matches!(own.state, State::Written | State::Common);
        let mut shared = self.own.range(first..).filter(shared);
        Seen {
            entries: (own + others).min(limit(quota)),
            oldest: shared.next().map(|own| own.entry.at),
        }
    }
}

/// How many entries Redis has after a request that it has decided; L + 1 may be more.
pub(super) fn entries(quota: Quota, decision: Decision) -> usize {
    if decision.admitted {
        limit(quota).saturating_sub(decision.remaining as usize)
    } else {
        limit(quota) + 1
    }
}

/// An entry that is newer than this counts for a request at `at`, whichever node decides it. Another node, whose clock is
/// a little ahead, may have removed an entry that is about to leave the window.
fn certain(quota: Quota, at: LogTime) -> LogTime {
    at + AHEAD.min(quota.window() / 4) - quota.window()
}
