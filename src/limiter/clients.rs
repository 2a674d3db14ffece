//! What is kept of many clients, in bounded memory.
//!
//! Clients are in the order in which they fell silent. So those that no longer count are found at once, and so is the
//! one that was silent longest, which is forgotten first when there is no room.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hashlink::{
    LinkedHashMap,
    linked_hash_map::Entry::{Occupied, Vacant},
};

use super::{
    ClientId, LogTime, Policy, PolicyName, Quota,
    shards::{SHARDS, Shards},
};

/// How many clients a request drops at most, so that no single request pays for a long quiet time.
const SWEEP_PER_REQUEST: usize = 4;

/// How many clients a sweep drops before it lets requests of the same shard pass.
const SWEEP_AT_ONCE: usize = 256;

/// One client under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) client: ClientId,
    pub(super) policy: PolicyName,
}

impl Key {
    pub(super) fn new(policy: &Policy, client: ClientId) -> Self {
        Self {
            client,
            policy: policy.name.clone(),
        }
    }
}

/// What is kept of one client under one policy.
pub(super) trait ClientLog: Default {
    /// What one client costs beside its heap: key, log, links, its share of the hash table, and what the allocator
    /// loses while logs grow. A test compares it with what the kernel counts.
    const OVERHEAD_BYTES: usize;

    /// When its newest request arrived, if any was logged. It no longer counts a window later.
    fn newest(&self) -> Option<LogTime>;

    /// How many bytes of heap it occupies.
    fn heap_bytes(&self) -> usize;
}

/// What is kept of all clients.
///
/// Memory is bounded twice. Requests drop a few clients each that no longer count, and a [`sweep`](Self::sweep) drops
/// all of them. And the whole never grows past the bound that [`new`](Self::new) was given: at the bound, the client
/// that was silent longest is forgotten. [`evictions`](Self::evictions) counts how often this happened.
#[derive(Debug)]
pub(super) struct Clients<T> {
    shards: Shards<Shard<T>>,
    shard_bytes: usize,
    evictions: AtomicU64,
}

impl<T: ClientLog> Clients<T> {
    /// No clients. They may occupy about `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            shards: Shards::default(),
            shard_bytes: max_bytes / SHARDS,
            evictions: AtomicU64::new(0),
        }
    }

    /// Logs a request that arrived at `at` with `log`, which gets what is kept of its client, or of a new one. Waits
    /// only for a lock that is held for microseconds.
    pub(super) fn log<R>(
        &self,
        key: Key,
        quota: Quota,
        at: LogTime,
        log: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut shard = self.shards.of(&key);
        shard.drop_idle(at, SWEEP_PER_REQUEST);
        let logged = shard.log(key, quota, log);
        while shard.bytes > self.shard_bytes && shard.clients() > 1 {
            shard.drop_longest_silent();
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        logged
    }

    /// Changes what is kept of a client, if anything is.
    pub(super) fn change<R>(
        &self,
        key: &Key,
        quota: Quota,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.shards.of(key).change(key, quota, change)
    }

    /// Forgets a client.
    pub(super) fn forget(&self, key: &Key, quota: Quota) {
        self.shards.of(key).forget(key, quota);
    }

    /// Calls `visit` for every client. Holds one lock at a time, and yields what `visit` has found under each.
    pub(super) fn visit<R>(
        &self,
        mut visit: impl FnMut(&Key, Quota, &mut T) -> Option<R>,
    ) -> impl Iterator<Item = Vec<R>> {
        self.shards.all().map(move |mut shard| {
            let lists = shard.lists.iter_mut();
            lists
                .flat_map(|list| list.logs.iter_mut())
                .filter_map(|(key, entry)| visit(key, entry.quota, &mut entry.log))
                .collect()
        })
    }

    /// Drops every client that no longer counts. Has to be called now and then, because requests drop only a few. Holds
    /// each lock only for as long as a few hundred clients take.
    pub(super) fn sweep(&self, now: LogTime) {
        let drop_some = || -> usize {
            let shards = self.shards.all();
            shards
                .map(|mut shard| shard.drop_idle(now, SWEEP_AT_ONCE))
                .sum()
        };
        while drop_some() > 0 {}
        for mut shard in self.shards.all() {
            shard.give_back_room();
        }
    }

    /// What all clients cost at the moment.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage {
            evictions: self.evictions.load(Ordering::Relaxed),
            ..Usage::default()
        };
        for shard in self.shards.all() {
            usage.clients += shard.clients();
            usage.bytes += shard.bytes;
        }
        usage
    }
}

/// What the clients cost that are counted in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many clients are remembered.
    pub clients: usize,
    /// How many bytes they occupy, about.
    pub bytes: usize,
    /// How often a client was forgotten for want of memory, while it still counted.
    pub evictions: u64,
}

/// Some of the clients, and what they cost.
#[derive(Debug)]
struct Shard<T> {
    /// One list for each length of window. Invariant: within a list, no client becomes idle before those in front of
    /// it. There are as many lists as policies and keys differ in their windows: a few.
    lists: Vec<List<T>>,
    bytes: usize,
}

/// What is kept for one length of window, in the order of the newest requests: the client that was silent longest comes
/// first.
#[derive(Debug)]
struct List<T> {
    window: Duration,
    logs: LinkedHashMap<Key, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    quota: Quota,
    log: T,
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T: ClientLog> Shard<T> {
    fn log<R>(&mut self, key: Key, quota: Quota, log: impl FnOnce(&mut T) -> R) -> R {
        let logs = &mut List::of(&mut self.lists, quota.window()).logs;
        let entry = match logs.entry(key) {
            Occupied(mut known) => {
                known.to_back();
                known.into_mut()
            }
            Vacant(new) => {
                self.bytes += T::OVERHEAD_BYTES;
                new.insert(Entry {
                    quota,
                    log: T::default(),
                })
            }
        };
        entry.change(&mut self.bytes, log)
    }

    fn change<R>(
        &mut self,
        key: &Key,
        quota: Quota,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let list = List::of(&mut self.lists, quota.window());
        let entry = list.logs.get_mut(key)?;
        Some(entry.change(&mut self.bytes, change))
    }

    fn forget(&mut self, key: &Key, quota: Quota) {
        let list = List::of(&mut self.lists, quota.window());
        if let Some(entry) = list.logs.remove(key) {
            self.bytes -= entry.bytes();
        }
    }

    fn clients(&self) -> usize {
        self.lists.iter().map(|list| list.logs.len()).sum()
    }

    /// Drops up to `most` clients that no longer count. Returns how many it dropped.
    fn drop_idle(&mut self, now: LogTime, most: usize) -> usize {
        let mut dropped = 0;
        for list in &mut self.lists {
            while dropped < most && list.front().is_some_and(|entry| entry.is_idle(now)) {
                self.bytes -= list.drop_front();
                dropped += 1;
            }
        }
        dropped
    }

    /// Drops the client whose newest request is the oldest of all.
    fn drop_longest_silent(&mut self) {
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
    /// Removes the lists for windows that no client has any more: a key can have any window, and each request looks
    /// through all lists.
    fn give_back_room(&mut self) {
        self.lists.retain(|list| !list.logs.is_empty());
        for list in &mut self.lists {
            if list.logs.len() < list.logs.capacity() / 8 {
                list.logs.shrink_to_fit();
            }
        }
    }
}

impl<T: ClientLog> List<T> {
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

    fn front(&self) -> Option<&Entry<T>> {
        self.logs.front().map(|(_, entry)| entry)
    }

    /// Forgets the client that was silent longest. Returns how many bytes this frees, about.
    fn drop_front(&mut self) -> usize {
        self.logs.pop_front().map_or(0, |(_, entry)| entry.bytes())
    }
}

impl<T: ClientLog> Entry<T> {
    /// Changes the log. `bytes` is what all logs cost.
    fn change<R>(&mut self, bytes: &mut usize, change: impl FnOnce(&mut T) -> R) -> R {
        let before = self.log.heap_bytes();
        let changed = change(&mut self.log);
        *bytes = *bytes + self.log.heap_bytes() - before;
        changed
    }

    /// Whether nothing that is kept counts at `now` any more. Then forgetting it changes no decision.
    fn is_idle(&self, now: LogTime) -> bool {
        let cutoff = now - self.quota.window();
        self.log.newest().is_none_or(|newest| newest <= cutoff)
    }

    fn bytes(&self) -> usize {
        T::OVERHEAD_BYTES + self.log.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::WindowLog;

    #[test]
    fn a_sweep_leaves_no_list_for_a_window_that_no_client_has_any_more() {
        let clients = Clients::<WindowLog>::new(1 << 20);
        let at = LogTime::from_micros(0);
        for seconds in 1..=50 {
            let quota = Quota::new(1, Duration::from_secs(seconds)).expect("a quota");
            let policy = Policy::default_policy(quota);
            let key = Key::new(&policy, ClientId::key(1));
            clients.log(key, quota, at, |log| log.record(quota, at));
        }
        let lists = || -> usize { clients.shards.all().map(|shard| shard.lists.len()).sum() };
        assert_eq!(lists(), 50);
        clients.sweep(LogTime::from_micros(40_000_000));
        assert_eq!((lists(), clients.usage().clients), (10, 10));
    }
}
