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
    pub(super) admitted: bool,
    /// Until when something was wrong, as far as was known when it was decided.
    pub(super) calm_since: i64,
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
            let mut admitted: Vec<i64> = admitted
                .filter(|decided| decided.admitted && decided.client == client)
                .map(|decided| decided.at)
                // Those under way at that moment may be in the old log or in the new one.
                .filter(|at| {
                    self.deleted
                        .iter()
                        .all(|(when, _)| !(when - 2 * TIMEOUT..=*when).contains(at))
                })
                .collect();
            admitted.sort_unstable();
            for (index, &at) in admitted.iter().enumerate() {
                // After an operator has deleted the log, the client has a new quota.
                let deleted = self
                    .deleted
                    .iter()
                    .filter(|(when, whose)| *whose == client && *when <= at);
                let begins = deleted
                    .map(|(when, _)| *when)
                    .max()
                    .unwrap_or(i64::MIN)
                    .max(at - window + 1);
                let first = admitted.partition_point(|&other| other < begins);
                let more = (index + 1 - first).saturating_sub(limit);
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
