//! What shows that Redis has lost entries of a client.

use super::{AHEAD, Known, Own, State, limit};
use crate::limiter::{LogTime, Quota};

impl Known {
    /// Whether an entry that Redis had, and that is certain to count for a request at `at`, is older than the `oldest`
    /// that Redis has now.
    pub(super) fn misses(&self, quota: Quota, at: LogTime, oldest: LogTime) -> bool {
        let certain = self.certain(quota, at);
        let first = self.own.partition_point(|own| own.entry.at <= certain);
        let shared = |own: &&Own| matches!(own.state, State::Written | State::Common);
        let mut shared = self.own.range(first..).filter(shared);
        shared.next().is_some_and(|own| own.entry.at < oldest)
    }

    /// An entry that is newer than this counts for a request at `at`, whichever node decides it. Another node, whose
    /// clock is a little ahead, may have removed an entry that is about to leave the window.
    fn certain(&self, quota: Quota, at: LogTime) -> LogTime {
        at + AHEAD.min(quota.window() / 4) - quota.window()
    }

    /// How many entries the log in Redis must have at least after a request at `at` was logged: at most L + 1.
    pub(super) fn expected(&self, quota: Quota, at: LogTime) -> usize {
        let certain = self.certain(quota, at);
        let own = self.newer_than(certain).saturating_sub(self.unshared);
        let others = match self.told {
            Some(told) if told.exact && told.deciding > certain => told.others,
            _ => 0,
        };
        (1 + own + others).min(limit(quota) + 1)
    }
}
