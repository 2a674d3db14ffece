//! Redis: what `redis/record.rs` and `redis/nodes.rs` ask of it, and what it loses.

use std::collections::BTreeMap;

use super::schedule::{Back, CLIENTS};
use crate::limiter::{
    Decision, LogEntry, LogTime, Quota,
    redis::roster::{Beat, NodeId},
};

/// The hash of beats, without their spelling.
pub(super) type Beats = BTreeMap<NodeId, Beat>;

/// What Redis holds.
#[derive(Clone, Debug, Default)]
struct Data {
    /// Sorted by time and member, as sorted sets are.
    logs: [Vec<LogEntry>; CLIENTS],
    beats: Beats,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    data: Data,
    saved: Option<Data>,
    /// Grows with each restart: its run id.
    pub(super) run: u64,
    pub(super) is_down: bool,
    pub(super) is_still: bool,
}

impl Server {
    /// `Record::add_to` and `Record::decision`: the members never collide here.
    pub(super) fn record(
        &mut self,
        client: usize,
        quota: Quota,
        entry: LogEntry,
        earlier: &[LogEntry],
    ) -> Decision {
        let log = &mut self.data.logs[client];
        for entry in earlier {
            add(log, *entry);
        }
        add(log, entry);
        trim(log, quota, entry.at);
        let oldest = log.first().map_or(entry.at, |entry| entry.at);
        let second = log.get(1).map(|entry| entry.at);
        Decision::from_log(quota, entry.at, log.len() as u64, oldest, second)
    }

    /// `add_commands`
    pub(super) fn add(&mut self, client: usize, quota: Quota, entries: &[LogEntry], now: LogTime) {
        let log = &mut self.data.logs[client];
        for entry in entries {
            add(log, *entry);
        }
        trim(log, quota, now);
    }

    /// The hash as it was before `node` beats.
    pub(super) fn beat(&mut self, node: NodeId, beat: Beat) -> Beats {
        let before = self.data.beats.clone();
        self.data.beats.insert(node, beat);
        before
    }

    pub(super) fn beats(&self) -> Beats {
        self.data.beats.clone()
    }

    /// How many entries the log of `client` has.
    pub(super) fn len(&self, client: usize) -> usize {
        self.data.logs[client].len()
    }

    pub(super) fn save(&mut self) {
        self.saved = Some(self.data.clone());
    }

    /// Another process takes the place of this one.
    pub(super) fn restart(&mut self, back: Back) {
        self.data = match back {
            Back::Empty => Data::default(),
            Back::Saved => self.saved.clone().unwrap_or_default(),
        };
        self.run += 1;
    }

    pub(super) fn flush(&mut self) {
        self.data = Data::default();
    }

    pub(super) fn delete(&mut self, client: usize) {
        self.data.logs[client].clear();
    }
}

/// `ZADD NX`
fn add(log: &mut Vec<LogEntry>, entry: LogEntry) {
    if log.iter().all(|other| other.member != entry.member) {
        let place =
            log.partition_point(|other| (other.at, other.member) < (entry.at, entry.member));
        log.insert(place, entry);
    }
}

/// `ZREMRANGEBYSCORE`, `ZREMRANGEBYRANK`
fn trim(log: &mut Vec<LogEntry>, quota: Quota, now: LogTime) {
    let last = now - quota.window();
    let old = log.partition_point(|entry| entry.at <= last);
    let surplus = log.len().saturating_sub(quota.limit() as usize + 1);
    log.drain(..old.max(surplus));
}
