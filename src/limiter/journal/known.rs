//! What a node knows of one client's window log, and what follows from it. Pure: time is an argument.
//!
//! A node knows the entries that it has logged itself, and what Redis told it with the last answer: how many entries
//! of others there were. Two things follow.
//!
//! **A flood can be refused without asking.** Redis has refused the client. It stays refused until its L-th newest
//! entry has left the window: other nodes can only add entries, and an added entry only makes the L-th newest one
//! newer. Until then the node may refuse the client by itself. Once it has refused L requests itself, these alone tell
//! how long the client stays refused.
//!
//! **The nodes can go on alone.** An entry is *common* if Redis has told of it: all nodes may know it. The other
//! entries of this node are *unshared*: no other node knows of them. With C common entries in the window, L − C
//! requests are left, and each of N nodes may admit ⌊(L − C)/N⌋ of them. So the node admits a request if no more than
//! these are unshared, its own entry included. The nodes together then admit no more than the quota as long as each
//! knows the common entries. It is enough if they nearly know them: if requests go round the nodes, the i-th node
//! knows of i requests fewer than the one that was asked last, and the shares are ⌊(L − C + i)/N⌋ for i from 0 to
//! N − 1. Their sum is exactly L − C (Hermite's identity).

mod losses;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use self::losses::Seen;
use crate::limiter::{Decision, LogEntry, LogTime, Quota, clients::ClientLog};

/// How far an entry that decides may be ahead of a request: the clocks of nodes differ, and threads overtake each
/// other. An entry that is further ahead means that log times have gone back, and then nothing is certain.
const AHEAD: Duration = Duration::from_secs(1);

/// Up to so many entries are looked through to find out when a client is admitted again while the node decides alone.
/// With more, the client is told to wait for a window, which is never early.
const MOST_TO_LOOK_THROUGH: usize = 1_000;

/// One client under one policy.
#[derive(Debug, Default)]
pub(in crate::limiter) struct Known {
    /// The newest entries of this node, in the order of their arrival; at most L + 1.
    own: VecDeque<Own>,
    /// How many of `own` are not [`State::Common`].
    unshared: usize,
    told: Option<Told>,
    /// Whether the client is listed for the next write-back.
    pub(in crate::limiter) is_listed: bool,
    /// Whether the key of its log holds something else, so that Redis cannot take anything in.
    pub(in crate::limiter) is_barred: bool,
}

#[derive(Clone, Copy, Debug)]
struct Own {
    entry: LogEntry,
    state: State,
}

/// Who knows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The request is on its way to Redis.
    Asked,
    /// Redis may not have it.
    Kept,
    /// Redis has it, but has not told since how many there are in all.
    Written,
    /// Redis had it when it last told of this client.
    Common,
}

/// What Redis answered to this node's newest request.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// When the request arrived.
    at: LogTime,
    /// How many entries there were that are not this node's. Those that came before the L-th newest are left out.
    others: usize,
    /// The entry that decides: the oldest of the log, or its L-th newest if the request was refused.
    deciding: LogTime,
    refused: bool,
    /// Whether `others` is exact: no other request of this node was on its way. Otherwise it may be too large.
    exact: bool,
}

/// What happens to a request that has just arrived.
#[derive(Debug)]
pub(in crate::limiter) enum Arrival {
    /// It is certain that Redis would refuse it.
    Refused,
    /// Redis has to decide, and must be told of the `earlier` entries first.
    Undecided {
        earlier: Vec<LogEntry>,
        place: Place,
    },
}

/// What a node has logged of a client when a request arrives.
#[derive(Clone, Copy, Debug)]
pub(in crate::limiter) struct Place {
    /// How many unshared entries there are, this one included.
    rank: usize,
    /// How many are common. They count for this request, even if later ones take their place before it is decided.
    common: usize,
    /// What Redis must count before this request.
    seen: Seen,
}

impl Known {
    /// Logs a request. `lateness` is how old the L-th newest entry of a flood may be that is refused without asking;
    /// `None` if none is.
    pub(in crate::limiter) fn arrive(
        &mut self,
        quota: Quota,
        entry: LogEntry,
        lateness: Option<Duration>,
    ) -> Arrival {
        self.expire(quota, entry.at);
        let refused = lateness.is_some_and(|lateness| self.is_flood(quota, entry.at, lateness));
        let (state, arrival) = if refused {
            (State::Kept, Arrival::Refused)
        } else {
            let earlier = self.kept().collect();
            let place = Place {
                rank: self.unshared + 1,
                common: self.common(),
                seen: self.seen(quota, entry.at),
            };
            (State::Asked, Arrival::Undecided { earlier, place })
        };
        self.own.push_back(Own { entry, state });
        self.unshared += 1;
        // Two threads may come here in another order than their requests arrived. Then an entry that is too old counts
        // as the L-th newest: the flood ends too early, which is safe.
        while self.own.len() > limit(quota) + 1 {
            self.drop_oldest();
        }
        arrival
    }

    /// Redis has taken in `earlier` entries and decided the request of `entry`, which found this `place`, and which Redis
    /// has `logged` as this entry in the end. Returns whether the answer agrees with what this node knew when the request
    /// arrived. If there are fewer entries than it knew of, Redis has lost some, and nothing is learnt from the answer.
    pub(in crate::limiter) fn answered(
        &mut self,
        quota: Quota,
        (entry, place): (LogEntry, Place),
        earlier: &[LogEntry],
        logged: LogEntry,
        decision: Decision,
    ) -> bool {
        self.expire(quota, entry.at);
        let limit = limit(quota);
        let entries = losses::entries(quota, decision);
        // When the oldest entry of the log was logged, or the L-th newest if the request was refused.
        let deciding = entry.at + decision.reset_after - quota.window();
        let oldest = decision.admitted.then_some(deciding);
        if !place.seen.agrees(entries, oldest) {
            return false;
        }
        self.is_barred = false;
        self.has_written(earlier);
        let mut on_their_way = false;
        let mut unshared = self.unshared;
        for own in self.own.iter_mut().rev() {
            if unshared == 0 {
                break;
            }
            unshared -= usize::from(own.state != State::Common);
            if own.entry == entry {
                own.entry = logged;
            } else if own.state != State::Written {
                on_their_way |= own.state == State::Asked;
                continue;
            }
            own.state = State::Common;
            self.unshared -= 1;
        }
        let of_others = if decision.admitted {
            entries.saturating_sub(self.common())
        } else {
            // The L-th newest entry itself is `deciding`, and so may be others of the same time.
            let known = |since| self.newer_than(since).saturating_sub(self.unshared);
            let newer = (limit - 1).saturating_sub(known(deciding));
            newer.min(limit.saturating_sub(known(deciding - Duration::from_micros(1))))
        };
        let mut told = Told {
            at: entry.at,
            others: of_others,
            deciding,
            refused: !decision.admitted,
            exact: !on_their_way,
        };
        // Answers may overtake each other. What was true of both is kept.
        if let Some(newer) = self.told.filter(|newer| newer.at > entry.at) {
            told = Told {
                others: newer.others.max(told.others),
                deciding: if newer.refused || !told.refused {
                    newer.deciding
                } else {
                    told.deciding
                },
                refused: newer.refused || told.refused,
                exact: false,
                ..newer
            };
        }
        self.told = Some(told);
        true
    }

    /// Redis may or may not have `entry`, which counts as `logged` from now on.
    pub(in crate::limiter) fn unanswered(&mut self, entry: LogEntry, logged: LogEntry) {
        if let Some(own) = self.own.iter_mut().rev().find(|own| own.entry == entry) {
            own.state = State::Kept;
            own.entry = logged;
        }
    }

    /// Decides, without Redis, the request that arrived at `at` and found this `place`, as one of `nodes` that
    /// cannot speak to each other. What was learnt since it arrived counts too.
    pub(in crate::limiter) fn alone(
        &mut self,
        quota: Quota,
        at: LogTime,
        place: Place,
        nodes: usize,
    ) -> Decision {
        self.expire(quota, at);
        let Place { rank, common, .. } = place;
        let share = self.share(quota, at, self.common().max(common), nodes);
        let admitted = rank <= share;
        let reset_after = if admitted {
            let oldest = self.own.front().map_or(at, |own| own.entry.at);
            (oldest.min(at) + quota.window()) - at
        } else {
            self.admits_again_after(quota, at, nodes)
        };
        Decision {
            admitted,
            remaining: u32::try_from(share.saturating_sub(rank)).unwrap_or(u32::MAX),
            reset_after,
        }
    }

    /// Entries that Redis may not have, oldest first.
    pub(in crate::limiter) fn kept(&self) -> impl Iterator<Item = LogEntry> {
        let kept = self.own.iter().filter(|own| own.state == State::Kept);
        kept.map(|own| own.entry)
    }

    /// All entries of this node that count at `now`, oldest first, except those on their way.
    pub(in crate::limiter) fn counting(
        &self,
        quota: Quota,
        now: LogTime,
    ) -> impl Iterator<Item = LogEntry> {
        let counts =
            move |own: &&Own| own.state != State::Asked && now - own.entry.at < quota.window();
        self.own.iter().filter(counts).map(|own| own.entry)
    }

    /// Redis has taken in `entries`.
    pub(in crate::limiter) fn has_written(&mut self, entries: &[LogEntry]) {
        // Both are in the order of arrival, and the oldest of `entries` may have been dropped meanwhile.
        let mut rest = entries;
        for own in &mut self.own {
            if rest.is_empty() {
                break;
            }
            if own.state == State::Kept
                && let Some(index) = rest.iter().position(|entry| *entry == own.entry)
            {
                own.state = State::Written;
                rest = &rest[index + 1..];
            }
        }
    }

    /// Whether a request at `at` is certain to be refused, and a client that is told to wait for a whole window waits
    /// at most `lateness` too long.
    pub(in crate::limiter) fn is_flood(
        &self,
        quota: Quota,
        at: LogTime,
        lateness: Duration,
    ) -> bool {
        let Some(told) = self.told.filter(|told| told.refused && !self.is_barred) else {
            return false;
        };
        let of_own = self.own.len().checked_sub(limit(quota));
        let of_own = of_own.and_then(|index| self.own.get(index));
        // There may be newer entries that this node does not know.
        let lth_newest = of_own.map_or(told.deciding, |own| own.entry.at.max(told.deciding));
        let age = at - lth_newest;
        // An entry counts until its age is a window. The difference of two times is never negative: an age of zero may
        // stand for an entry that is ahead.
        age <= lateness && age < quota.window() && lth_newest <= at + AHEAD
    }

    /// Moves all times by `micros`.
    pub(super) fn shift(&mut self, micros: i64) {
        let shift = |at: &mut LogTime| {
            *at = LogTime::from_micros(at.as_micros().saturating_add(micros));
        };
        self.own.iter_mut().for_each(|own| shift(&mut own.entry.at));
        if let Some(told) = &mut self.told {
            shift(&mut told.at);
            shift(&mut told.deciding);
        }
    }

    /// How many requests this node may admit by itself while `common` entries are common, beside those of others.
    fn share(&self, quota: Quota, at: LogTime, common: usize, nodes: usize) -> usize {
        let window = quota.window();
        let told = self.told.filter(|told| at - told.at < window);
        if told.is_some_and(|told| told.refused && at - told.deciding < window) {
            return 0;
        }
        let others = told.map_or(0, |told| told.others);
        limit(quota).saturating_sub(common + others) / nodes
    }

    /// How long after `at` the next request would be admitted, if none comes before.
    fn admits_again_after(&self, quota: Quota, at: LogTime, nodes: usize) -> Duration {
        let window = quota.window();
        if self.own.len() > MOST_TO_LOOK_THROUGH {
            return window;
        }
        // The moments at which something leaves the window, and what is left then.
        let (mut common, mut unshared) = (self.common(), self.unshared);
        let admits = |left: LogTime, common, unshared| {
            let again = left + window;
            let admits = again > at && unshared < self.share(quota, again, common, nodes);
            admits.then(|| again - at)
        };
        let told = self.told.map(|told| [told.deciding, told.at]);
        let mut told = told.into_iter().flatten().peekable();
        for own in &self.own {
            while let Some(left) = told.next_if(|left| *left <= own.entry.at) {
                if let Some(wait) = admits(left, common, unshared) {
                    return wait;
                }
            }
            if own.state == State::Common {
                common -= 1;
            } else {
                unshared -= 1;
            }
            if let Some(wait) = admits(own.entry.at, common, unshared) {
                return wait;
            }
        }
        let mut last = told.filter_map(|left| admits(left, common, unshared));
        last.next().unwrap_or(window)
    }

    fn common(&self) -> usize {
        self.own.len() - self.unshared
    }

    /// How many entries of this node are newer than `at`.
    fn newer_than(&self, at: LogTime) -> usize {
        self.own.len() - self.own.partition_point(|own| own.entry.at <= at)
    }

    /// Drops entries that have left the window.
    fn expire(&mut self, quota: Quota, now: LogTime) {
        let cutoff = now - quota.window();
        while self.own.front().is_some_and(|own| own.entry.at <= cutoff) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.own.pop_front();
        let was_unshared = oldest.is_some_and(|own| own.state != State::Common);
        self.unshared -= usize::from(was_unshared);
    }
}

impl ClientLog for Known {
    const OVERHEAD_BYTES: usize = 280;

    fn newest(&self) -> Option<LogTime> {
        let own = self.own.back().map(|own| own.entry.at);
        own.max(self.told.map(|told| told.at))
    }

    fn heap_bytes(&self) -> usize {
        self.own.capacity() * size_of::<Own>()
    }
}

fn limit(quota: Quota) -> usize {
    quota.limit() as usize
}
