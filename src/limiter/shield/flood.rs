//! What a node knows of one client that floods it, and what follows from it. Pure: time is an argument.
//!
//! Redis has refused the client. It stays refused until its L-th newest entry has left the window: other nodes can only
//! add entries, and an added entry only makes the L-th newest one newer. Until then the node may refuse the client by
//! itself. Once it has refused L requests itself, these alone tell how long the client stays refused.

use std::{collections::VecDeque, time::Duration};

use crate::limiter::{LogEntry, LogTime, Policy};

/// How far the L-th newest entry may be ahead of a request: the clocks of nodes differ, and threads overtake each
/// other. An entry that is further ahead means that log times have gone back, and then nothing is certain.
const AHEAD: Duration = Duration::from_secs(1);

/// One client that is being refused under one policy.
#[derive(Debug)]
pub(super) struct Flood {
    policy: Policy,
    /// The L-th newest entry in Redis when Redis was last asked.
    in_redis: LogTime,
    /// The newest refusals of this node, in the order of their arrival; at most L + 1.
    own: VecDeque<LogEntry>,
    /// How many of `own`, counted from the newest, Redis may not have.
    unwritten: usize,
}

impl Flood {
    /// Redis has refused the client, and `in_redis` is the L-th newest entry of its log.
    pub(super) fn new(policy: Policy, in_redis: LogTime) -> Self {
        Self {
            policy,
            in_redis,
            own: VecDeque::new(),
            unwritten: 0,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How many refusals it remembers.
    pub(super) fn entries(&self) -> usize {
        self.own.len()
    }

    /// Redis has refused the client again, and `lth_newest` is the L-th newest entry of its log.
    pub(super) fn redis_holds(&mut self, lth_newest: LogTime) {
        self.in_redis = self.in_redis.max(lth_newest);
    }

    /// Whether a request at `at` is certain to be refused, and a client that is told to wait for a whole window waits
    /// at most `lateness` too long.
    pub(super) fn lasts(&self, at: LogTime, lateness: Duration) -> bool {
        let lth_newest = self.lth_newest();
        let age = at - lth_newest;
        // An entry counts until its age is a window. The difference of two times is never negative: an age of zero may
        // stand for an entry that is ahead.
        age <= lateness && age < self.policy.quota.window() && lth_newest <= at + AHEAD
    }

    /// The L-th newest entry that this node knows of. There may be newer ones that it does not know.
    fn lth_newest(&self) -> LogTime {
        let limit = self.policy.quota.limit() as usize;
        let of_own = self.own.len().checked_sub(limit);
        let of_own = of_own.and_then(|index| self.own.get(index));
        of_own.map_or(self.in_redis, |entry| entry.at.max(self.in_redis))
    }

    /// Remembers a refusal. Returns whether there is one entry more than before.
    pub(super) fn push(&mut self, entry: LogEntry) -> bool {
        // Two threads may come here in another order than their requests arrived. Then an entry that is too old counts
        // as the L-th newest: the flood ends too early, which is safe.
        self.own.push_back(entry);
        let full = self.own.len() > self.policy.quota.limit() as usize + 1;
        if full {
            self.own.pop_front();
        }
        self.unwritten = (self.unwritten + 1).min(self.own.len());
        !full
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    /// The refusals that Redis may not have, oldest first.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = LogEntry> {
        let written = self.own.len() - self.unwritten;
        self.own.iter().skip(written).copied()
    }

    /// Redis has `entries` now, which were [`unwritten`](Self::unwritten) a moment ago.
    pub(super) fn has_written(&mut self, entries: &[LogEntry]) {
        let Some(last) = entries.last() else { return };
        // Newer entries came since. If `last` is not among `own` any more, all of `own` came since.
        if let Some(position) = self.own.iter().rposition(|entry| entry == last) {
            let newer = self.own.len() - position - 1;
            self.unwritten = self.unwritten.min(newer);
        }
    }
}
