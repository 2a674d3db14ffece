//! What must hold of every run.

use std::fmt;

use super::{
    node::TIMEOUT,
    schedule::{MS, SKEW},
    world::World,
};

/// A request that was decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    pub(super) client: usize,
    /// When it arrived at its node, µs of the true time.
    pub(super) at: i64,
    /// When it was decided.
    pub(super) decided: i64,
    pub(super) admitted: bool,
    /// Until when something was wrong, as far as was known when it was decided.
    pub(super) calm_since: i64,
}

impl Decided {
    /// The latest moment for which its decision may be right, µs. That is its arrival, unless its node stood still: while a
    /// node runs, a request waits for a timeout and a half at most. A request that took longer counts at any moment until it
    /// was decided. Its client cannot tell, and the requests before it may have left the window meanwhile.
    fn counts_until(&self) -> i64 {
        let is_late = self.decided - self.at > 2 * TIMEOUT;
        if is_late { self.decided } else { self.at }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// So many more than the quota were admitted in the window that ends at this moment, µs.
    OverAdmitted { client: usize, more: usize, at: i64 },
    /// A request was refused although Redis was in reach, and fewer than the quota could be in the window.
    WronglyRefused { client: usize, at: i64 },
    /// A node did not come back.
    StaysAway { node: usize },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: &i64| *micros as f64 / MS as f64;
        match self {
            Self::OverAdmitted { client, more, at } => {
                write!(
                    f,
                    "client {client} got {more} more than its quota in the window until {} ms",
                    ms(at)
                )
            }
            Self::WronglyRefused { client, at } => {
                write!(
                    f,
                    "the request of client {client} at {} ms was refused too early",
                    ms(at)
                )
            }
            Self::StaysAway { node } => write!(f, "node {node} does not come back"),
        }
    }
}

impl World<'_> {
    /// The most requests that were admitted in a window beyond the quota, if `more` is exceeded; or another violation.
    pub(super) fn judge(&mut self, bound: usize) -> Option<Violation> {
        let away = self.run();
        self.over_admitted(bound)
            .or_else(|| self.wrongly_refused())
            .or_else(|| {
                away.first()
                    .map(|node| Violation::StaysAway { node: *node })
            })
    }

    fn over_admitted(&self, bound: usize) -> Option<Violation> {
        let quota = self.schedule.quota;
        // Log times are wrong by `SKEW` at most, so requests that are nearer than this lie in one window in any case.
        let window = quota.window_micros() - 2 * SKEW;
        let limit = quota.limit() as usize;
        let mut worst: Option<(usize, Violation)> = None;
        for client in 0..super::schedule::CLIENTS {
            let admitted = self.decided.iter();
            let mut admitted: Vec<&Decided> = admitted
                .filter(|decided| decided.admitted && decided.client == client)
                // Those under way at that moment may be in the old log or in the new one.
                .filter(|decided| {
                    let under_way = |when: i64| (when - 2 * TIMEOUT..=when).contains(&decided.at);
                    !self.deleted.iter().any(|(when, _)| under_way(*when))
                })
                .collect();
            admitted.sort_unstable_by_key(|decided| decided.at);
            for (index, first) in admitted.iter().enumerate() {
                // After an operator has deleted the log, the client has a new quota.
                let deletions = self.deleted.iter();
                let next = deletions
                    .filter(|(when, whose)| *whose == client && *when > first.at)
                    .map(|(when, _)| *when)
                    .min();
                let ends = next.unwrap_or(i64::MAX).min(first.at + window);
                let inside = admitted[index..]
                    .iter()
                    .filter(|decided| decided.counts_until() < ends);
                let more = inside.clone().count().saturating_sub(limit);
                let at = inside.map(|decided| decided.at).max().unwrap_or(first.at);
                if more > bound && worst.is_none_or(|(most, _)| more > most) {
                    worst = Some((more, Violation::OverAdmitted { client, more, at }));
                }
            }
        }
        worst.map(|(_, violation)| violation)
    }

    fn wrongly_refused(&self) -> Option<Violation> {
        let quota = self.schedule.quota;
        let window = quota.window_micros() + 2 * SKEW + 10 * MS;
        let refused = self.decided.iter().filter(|decided| !decided.admitted);
        for decided in refused {
            if decided.calm_since > decided.at - 2 * window {
                continue;
            }
            let logged = self.arrived.iter().filter(|(at, client)| {
                *client == decided.client
                    && (decided.at - window..=decided.at + 2 * SKEW + 10 * MS).contains(at)
            });
            if logged.count() <= quota.limit() as usize {
                return Some(Violation::WronglyRefused {
                    client: decided.client,
                    at: decided.at,
                });
            }
        }
        None
    }
}
