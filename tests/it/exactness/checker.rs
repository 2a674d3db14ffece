//! The interval checker: what a client can prove about the decisions that it got.
//!
//! A client knows when it sent a request and when it received the answer, by one clock. It does not know the log time
//! `t` of the request, nor when the decision was made, only that `sent <= t <= decided <= received`. So each verdict
//! below holds for *every* choice of these times. The checker never accuses a limiter that follows the rule; what it
//! does not find may still be wrong by less than the requests took.
//!
//! The rule, as Redis carries it out for a request `i`: its entry is logged with the time `t(i)`, and it is admitted iff
//! at most L entries with `t > d(i) − W` are in the log, its own included. `d(i)` is the newest time that was logged
//! before the decision, because a later request removes what has left *its* window. `d(i)` lies between `sent(i)` and
//! `received(i)` too, as no time is logged before it has come.
//!
//! | verdict | what is wrong | holds if |
//! |---|---|---|
//! | V1, over-admitted | more than L admitted requests lie in one window | for any two of them, `received(a) − sent(b) < W` |
//! | V2 | a request is admitted in a full window | L others with `received(j) < sent(i)` and `received(i) − sent(j) < W` |
//! | V3 | a request is refused in a free window | fewer than L others with `sent(j) <= received(i)` and `sent(i) − received(j) < W` |
//!
//! *V1.* A window is `(t − W, t]`, so two requests lie in one iff their times differ by less than W. The largest
//! difference that the two intervals allow is `received(a) − sent(b)`, one way round or the other. If all pairs of a set
//! pass, the newest of the set is less than W after the oldest, whatever the times were. Of this set, the limiter decided
//! one last: it had logged the others, all of them less than W before `d`, and so counted more than L.
//!
//! *V2.* Request `j` was answered before `i` was sent, so it was logged before `i` was decided, and
//! `d(i) − t(j) <= received(i) − sent(j) < W`: it counted, and so did L − 1 others and `i` itself. Refused requests count
//! as well. A request without an answer may never have reached a node, so it does not.
//!
//! *V3.* An entry counts against `i` only if its request was sent before `i` was answered and if
//! `t(j) > d(i) − W`, for which `received(j) > sent(i) − W` has to hold. A request without an answer may arrive at any
//! time after it was sent.
//!
//! Nodes know Redis's clock with an error. Log times may therefore lie outside of their intervals by `clock_error`. The
//! order of two requests of which one was answered before the other was sent does not depend on any clock.

#[cfg(test)]
mod tests;

/// One request as its client saw it. Times are µs of one monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub sent: i64,
    pub received: i64,
    pub outcome: Outcome,
    /// The number of the node that was asked.
    pub node: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Admitted,
    Refused,
    /// An answer that is no decision, or none.
    Failed,
}

/// A quota: at most so many requests in any window of so many µs.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub requests: usize,
    pub window: i64,
}

/// Checks the requests of one client under quotas that all cover each of them.
pub struct Checker {
    pub limits: Vec<Limit>,
    /// How far a log time may lie outside of its request's interval, µs.
    pub clock_error: i64,
}

/// Requests whose outcome cannot be right, as indices into the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// V1: for each quota, the requests that should have been refused for what was admitted before them.
    pub over_admitted: Vec<Vec<usize>>,
    /// V2 under any of the quotas.
    pub admitted_in_a_full_window: Vec<usize>,
    /// V3 under all of the quotas.
    pub refused_in_a_free_window: Vec<usize>,
}

impl Checker {
    /// The verdicts about all requests of one client, in any order.
    pub fn check(&self, records: &[Record]) -> Verdicts {
        let of = |outcome| move |&i: &usize| records[i].outcome == outcome;
        let all = 0..records.len();
        let limits = || self.limits.iter().copied();
        Verdicts {
            over_admitted: limits()
                .map(|limit| self.over_admitted(records, limit))
                .collect(),
            admitted_in_a_full_window: all
                .clone()
                .filter(of(Outcome::Admitted))
                .filter(|&i| limits().any(|limit| self.is_certainly_full(records, i, limit)))
                .collect(),
            refused_in_a_free_window: all
                .filter(of(Outcome::Refused))
                .filter(|&i| limits().all(|limit| self.is_certainly_free(records, i, limit)))
                .collect(),
        }
    }

    /// V1. Goes through the admitted requests in the order of their answers. One that must share a window with L others
    /// is over the limit, and is left out of all later windows: what it took is counted once.
    ///
    /// At least one is found iff there is a set as in V1. The L others have all been answered before, so any two of them
    /// pass if each of them passes with the last. The other way round, the last answered request of a set finds all
    /// others, unless one of these was found to be over the limit itself. If requests take no time, the number is the
    /// smallest that has to be taken away to leave no window with more than L: of a window that is too full, the newest
    /// request is in the most windows that follow.
    fn over_admitted(&self, records: &[Record], limit: Limit) -> Vec<usize> {
        let mut admitted: Vec<usize> = (0..records.len())
            .filter(|&i| records[i].outcome == Outcome::Admitted)
            .collect();
        admitted.sort_by_key(|&i| records[i].received);
        let window = limit.window - 2 * self.clock_error;
        let share_a_window =
            |a: &Record, b: &Record| a.received - b.sent < window && b.received - a.sent < window;
        let (mut kept, mut over) = (Vec::new(), Vec::new());
        for i in admitted {
            let with = |&&k: &&usize| share_a_window(&records[k], &records[i]);
            if kept.iter().filter(with).count() >= limit.requests {
                over.push(i);
            } else {
                kept.push(i);
            }
        }
        over
    }

    /// V2 for an admitted request.
    fn is_certainly_full(&self, records: &[Record], i: usize, limit: Limit) -> bool {
        let this = &records[i];
        let window = limit.window - 2 * self.clock_error;
        let counted = records.iter().filter(|other| {
            other.outcome != Outcome::Failed
                && other.received < this.sent
                && this.received - other.sent < window
        });
        counted.count() >= limit.requests
    }

    /// V3 for a refused request.
    fn is_certainly_free(&self, records: &[Record], i: usize, limit: Limit) -> bool {
        let this = &records[i];
        let window = limit.window + 2 * self.clock_error;
        let possible = records.iter().enumerate().filter(|&(j, other)| {
            let is_recent = other.outcome == Outcome::Failed || this.sent - other.received < window;
            j != i && other.sent <= this.received && is_recent
        });
        possible.count() < limit.requests
    }
}

impl Verdicts {
    /// V1 under all quotas together, each request once.
    pub fn over_admitted_requests(&self) -> usize {
        let mut requests: Vec<usize> = self.over_admitted.concat();
        requests.sort_unstable();
        requests.dedup();
        requests.len()
    }
}
