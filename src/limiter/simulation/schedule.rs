//! What happens in one run: requests and faults, and when.

use std::fmt;

use super::dice::Dice;
use crate::limiter::Quota;

pub(super) const MS: i64 = 1_000;
pub(super) const SECOND: i64 = 1_000 * MS;

/// How many clients there are at most.
pub(super) const CLIENTS: usize = 2;

/// The log time of a node is wrong by so much at most, µs.
pub(super) const SKEW: i64 = 2 * MS;

/// Everything that is not left to the automata.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// For delays of messages, and the order of connections.
    pub(super) seed: u64,
    pub(super) quota: Quota,
    /// How wrong the log time of each node is, µs.
    pub(super) skews: Vec<i64>,
    pub(super) is_shielded: bool,
    /// The longest way of a message, µs.
    pub(super) delay: i64,
    pub(super) spread: Spread,
    /// Whether the requests of one client may be under way at the same time while nothing is wrong.
    pub(super) overlaps: bool,
    /// In the order of their times, µs.
    pub(super) events: Vec<(i64, Event)>,
}

/// Which node gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// The next one that lives, for each client.
    Even,
    /// All those of one client get the same.
    Pinned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Request {
        client: usize,
    },
    RedisStalls {
        lasts: i64,
    },
    /// Those of one node, or all. If it is `abrupt`, what is under way on them is lost.
    ConnectionsEnd {
        node: Option<usize>,
        abrupt: bool,
    },
    /// What Redis holds now is what it may come back with.
    RedisSaves,
    RedisCrashes {
        lasts: i64,
        back: Back,
    },
    RedisIsFlushed,
    NodeIsCutOff {
        node: usize,
        lasts: i64,
    },
    NodeStalls {
        node: usize,
        lasts: i64,
    },
    NodeIsKilled {
        node: usize,
    },
    NodeStarts {
        node: usize,
    },
    OperatorDeletes {
        client: usize,
    },
}

/// What a Redis that was restarted holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    Empty,
    /// What it held when it [saved](Event::RedisSaves), or nothing.
    Saved,
}

/// Which faults a schedule may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    RedisStalls,
    ConnectionsEnd,
    RedisCrashes,
    RedisIsReplaced,
    RedisIsFlushed,
    NodeIsCutOff,
    NodeStalls,
    NodeIsKilled,
    NodeStarts,
    OperatorDeletes,
}

impl Schedule {
    /// The schedule that follows from `seed`.
    pub(super) fn random(seed: u64, faults: &[Fault], spread: Spread) -> Self {
        let mut dice = Dice::new(seed);
        let nodes = dice.between(2, 4) as usize;
        // Small ones mostly: these runs are short.
        let most = [4, 8, 12][dice.below(3)];
        let limit = dice.between(1, most);
        let window = [SECOND, SECOND, 1_500 * MS][dice.below(3)];
        let quota = Quota::new(
            limit as u32,
            std::time::Duration::from_micros(window as u64),
        );
        let mut schedule = Self {
            seed: seed ^ 0xd1ce,
            quota: quota.expect("a quota"),
            skews: (0..nodes).map(|_| dice.between(-SKEW, SKEW)).collect(),
            is_shielded: dice.once_in(2),
            delay: [200, MS, 3 * MS][dice.below(3)],
            spread,
            overlaps: false,
            events: Vec::new(),
        };
        let begins = dice.between(0, 300 * MS);
        let number = 1 + dice.below(2) + dice.below(2);
        let mut at = begins + dice.between(0, 150 * MS);
        for _ in 0..number {
            let fault = faults[dice.below(faults.len())];
            schedule.add_fault(&mut dice, fault, at, begins);
            at += [20 * MS, 150 * MS, 600 * MS][dice.below(3)] + dice.between(0, 100 * MS);
        }
        schedule.add_requests(&mut dice, begins, limit);
        schedule.events.sort_by_key(|(at, _)| *at);
        schedule
    }

    fn add_fault(&mut self, dice: &mut Dice, fault: Fault, at: i64, begins: i64) {
        let node = dice.below(self.skews.len());
        let long = |dice: &mut Dice| {
            [50 * MS, 150 * MS, 300 * MS, 1_200 * MS][dice.below(4)]
                + dice.between(-40 * MS, 60 * MS)
        };
        let event = match fault {
            Fault::RedisStalls => Event::RedisStalls { lasts: long(dice) },
            Fault::ConnectionsEnd => Event::ConnectionsEnd {
                node: (!dice.once_in(2)).then_some(node),
                abrupt: dice.once_in(2),
            },
            Fault::RedisCrashes => Event::RedisCrashes {
                lasts: [MS, 30 * MS, 200 * MS][dice.below(3)],
                back: Back::Empty,
            },
            Fault::RedisIsReplaced => {
                let lag = [10 * MS, 100 * MS, 400 * MS][dice.below(3)];
                let saved = (at - dice.between(0, lag)).max(begins);
                self.events.push((saved, Event::RedisSaves));
                Event::RedisCrashes {
                    lasts: [MS, 100 * MS, 300 * MS][dice.below(3)],
                    back: Back::Saved,
                }
            }
            Fault::RedisIsFlushed => Event::RedisIsFlushed,
            Fault::NodeIsCutOff => Event::NodeIsCutOff {
                node,
                lasts: long(dice),
            },
            Fault::NodeStalls => Event::NodeStalls {
                node,
                lasts: long(dice),
            },
            Fault::NodeIsKilled => Event::NodeIsKilled { node },
            Fault::NodeStarts => {
                let killed = (at - dice.between(0, 200 * MS)).max(0);
                self.events.push((killed, Event::NodeIsKilled { node }));
                Event::NodeStarts { node }
            }
            Fault::OperatorDeletes => Event::OperatorDeletes { client: 0 },
        };
        // A second crash before all nodes are back may be missed by nodes that have noticed the first.
        let is_crash = |event: &Event| matches!(event, Event::RedisCrashes { .. });
        if !is_crash(&event) || !self.events.iter().any(|(_, other)| is_crash(other)) {
            self.events.push((at, event));
        }
    }

    fn add_requests(&mut self, dice: &mut Dice, begins: i64, limit: i64) {
        // Before, during and after the faults: up to twice the quota in about one window.
        let window = self.quota.window_micros();
        // While nothing is wrong, a request has its answer before the next one is sent.
        let least = if self.overlaps { 0 } else { 2 * self.delay };
        for client in 0..1 + usize::from(dice.once_in(4)) {
            let number = dice.between(limit + 2, 2 * limit + 5);
            let gap = dice.between(window / 4, window * 5 / 4) / number;
            let mut at = begins + dice.between(0, 100 * MS);
            let mut burst = 0;
            for _ in 0..number {
                self.events.push((at, Event::Request { client }));
                if burst > 0 {
                    burst -= 1;
                    at += least + dice.between(0, 2 * MS);
                } else {
                    at += least + dice.between(0, 2 * gap);
                    if dice.once_in(6) {
                        burst = dice.between(1, limit);
                    }
                }
            }
        }
    }

    /// How many more than its quota a client may get: if a node is cut off alone, what it admits by itself.
    pub(super) fn bound(&self) -> usize {
        let is_cut_off = |n: usize| {
            let mut events = self.events.iter();
            events.any(|(_, event)| matches!(event, Event::NodeIsCutOff { node, .. } if *node == n))
        };
        let cut_off = (0..self.skews.len()).filter(|n| is_cut_off(*n)).count();
        cut_off * (self.quota.limit() as usize / self.skews.len())
    }

    /// When the last fault is over.
    pub(super) fn calm_from(&self) -> i64 {
        let ends = self.events.iter().map(|(at, event)| at + event.lasts());
        ends.max().unwrap_or(0)
    }

    /// The schedule without some of its events that still `fails`.
    pub(super) fn shrunk(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self.clone();
        let mut chunk = smallest.events.len().div_ceil(2).max(1);
        loop {
            let before = smallest.events.len();
            let mut from = 0;
            while from < smallest.events.len() {
                let mut fewer = smallest.clone();
                fewer
                    .events
                    .drain(from..(from + chunk).min(fewer.events.len()));
                if fails(&fewer) {
                    smallest = fewer;
                } else {
                    from += chunk;
                }
            }
            if chunk > 1 {
                chunk /= 2;
            } else if smallest.events.len() == before {
                break;
            }
        }
        let mut simpler = smallest.clone();
        simpler.skews.iter_mut().for_each(|skew| *skew = 0);
        if fails(&simpler) {
            smallest = simpler;
        }
        smallest
    }
}

impl Event {
    fn lasts(&self) -> i64 {
        match *self {
            Self::RedisStalls { lasts }
            | Self::RedisCrashes { lasts, .. }
            | Self::NodeIsCutOff { lasts, .. }
            | Self::NodeStalls { lasts, .. } => lasts,
            _ => 0,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: i64| micros as f64 / MS as f64;
        match self {
            Self::Request { client } => write!(f, "client {client} sends a request"),
            Self::RedisStalls { lasts } => write!(f, "Redis stands still for {} ms", ms(*lasts)),
            Self::ConnectionsEnd { node, abrupt } => {
                match node {
                    Some(node) => write!(f, "the connections of node {node} end")?,
                    None => write!(f, "all connections end")?,
                }
                f.write_str(if *abrupt {
                    ", with what is on them"
                } else {
                    ""
                })
            }
            Self::RedisSaves => write!(f, "Redis saves"),
            Self::RedisCrashes { lasts, back } => {
                write!(
                    f,
                    "Redis crashes, and is back in {} ms: {back:?}",
                    ms(*lasts)
                )
            }
            Self::RedisIsFlushed => write!(f, "FLUSHALL"),
            Self::NodeIsCutOff { node, lasts } => {
                write!(f, "node {node} is cut off for {} ms", ms(*lasts))
            }
            Self::NodeStalls { node, lasts } => {
                write!(f, "node {node} stands still for {} ms", ms(*lasts))
            }
            Self::NodeIsKilled { node } => write!(f, "node {node} is killed"),
            Self::NodeStarts { node } => write!(f, "node {node} starts"),
            Self::OperatorDeletes { client } => {
                write!(f, "an operator deletes the log of client {client}")
            }
        }
    }
}
