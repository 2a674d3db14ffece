//! Clients in the order in which they fell silent, and what they cost.

use std::time::Duration;

use hashlink::{
    LinkedHashMap,
    linked_hash_map::Entry::{Occupied, Vacant},
};

use crate::limiter::{ClientId, Decision, LogTime, PolicyName, Quota, WindowLog};

/// What one client costs beside its entries: key, log, links, its share of the hash table, and what the allocator loses
/// while logs grow. In a release build, resident memory grew by about 190 bytes per client with one request, and by 330
/// per client with a full log at 10 per minute; this is on the safe side for both. A test compares it with what the
/// kernel counts.
pub(super) const CLIENT_OVERHEAD_BYTES: usize = 200;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) client: ClientId,
    pub(super) policy: PolicyName,
}

#[derive(Debug)]
struct Entry {
    quota: Quota,
    log: WindowLog,
}

/// Some of the clients, and what they cost.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// One list for each length of window. Invariant: within a list, no client becomes idle before those in front of
    /// it. There are as many lists as policies differ in their windows: a few.
    lists: Vec<List>,
    bytes: usize,
}

/// Logs of one length of window, in the order of their newest entries: the client that was silent longest comes first.
#[derive(Debug)]
struct List {
    window: Duration,
    logs: LinkedHashMap<Key, Entry>,
}

impl Shard {
    /// Logs a request and decides it.
    pub(super) fn record(&mut self, key: Key, quota: Quota, at: LogTime) -> Decision {
        let logs = &mut List::of(&mut self.lists, quota.window()).logs;
        let entry = match logs.entry(key) {
            Occupied(mut known) => {
                known.to_back();
                known.into_mut()
            }
            Vacant(new) => {
                self.bytes += CLIENT_OVERHEAD_BYTES;
                new.insert(Entry {
                    quota,
                    log: WindowLog::default(),
                })
            }
        };
        let before = entry.log.heap_bytes();
        let decision = entry.log.record(quota, at);
        self.bytes = self.bytes + entry.log.heap_bytes() - before;
        decision
    }

    pub(super) fn clients(&self) -> usize {
        self.lists.iter().map(|list| list.logs.len()).sum()
    }

    /// How many bytes the clients occupy, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops up to `most` clients whose logs no longer count. Returns how many it dropped.
    pub(super) fn drop_idle(&mut self, now: LogTime, most: usize) -> usize {
        let mut dropped = 0;
        for list in &mut self.lists {
            while dropped < most && list.front().is_some_and(|entry| entry.is_idle(now)) {
                self.bytes -= list.drop_front();
                dropped += 1;
            }
        }
        dropped
    }

    /// Drops the client whose newest entry is the oldest of all.
    pub(super) fn drop_longest_silent(&mut self) {
        let longest_silent = self
            .lists
            .iter_mut()
            .filter(|list| !list.logs.is_empty())
            .min_by_key(|list| list.front().and_then(|entry| entry.log.newest()));
        if let Some(list) = longest_silent {
            self.bytes -= list.drop_front();
        }
    }

    /// Shrinks tables that were made for far more clients than there are. The few that are left are moved quickly.
    pub(super) fn give_back_room(&mut self) {
        for list in &mut self.lists {
            if list.logs.len() < list.logs.capacity() / 8 {
                list.logs.shrink_to_fit();
            }
        }
    }
}

impl List {
    /// The list for windows of this length.
    fn of(lists: &mut Vec<Self>, window: Duration) -> &mut Self {
        let known = lists.iter().position(|list| list.window == window);
        let position = known.unwrap_or_else(|| {
            lists.push(Self {
                window,
                logs: LinkedHashMap::new(),
            });
            lists.len() - 1
        });
        &mut lists[position]
    }

    fn front(&self) -> Option<&Entry> {
        self.logs.front().map(|(_, entry)| entry)
    }

    /// Forgets the client that was silent longest. Returns how many bytes this frees, about.
    fn drop_front(&mut self) -> usize {
        self.logs.pop_front().map_or(0, |(_, entry)| entry.bytes())
    }
}

impl Entry {
    fn is_idle(&self, now: LogTime) -> bool {
        self.log.is_idle(self.quota, now)
    }

    fn bytes(&self) -> usize {
        CLIENT_OVERHEAD_BYTES + self.log.heap_bytes()
    }
}
