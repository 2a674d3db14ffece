//! Window logs in this process: the store of the embedded mode, and the stand-in while Redis is away.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use hashlink::{
    LinkedHashMap,
    linked_hash_map::Entry::{Occupied, Vacant},
};

use super::{
    ClientId, Decision, LogTime, Policy, PolicyName, Quota, WindowLog, WindowStore,
    WindowStoreError,
    boot_clock::BootClock,
    shards::{SHARDS, Shards},
};

/// What one client costs beside its entries: key, log, links, its share of the hash table, and what the allocator loses
/// while logs grow. The resident memory of a release build grew by about 190 bytes per client with one request and by
/// 330 per client with a full log at 10 per minute; this is on the safe side for both.
const CLIENT_OVERHEAD_BYTES: usize = 200;

/// Clients dropped per request at the most, so that no single request pays for a long quiet time.
const SWEEP_PER_REQUEST: usize = 4;

/// Clients dropped by a sweep before it lets requests of the same shard pass.
const SWEEP_AT_ONCE: usize = 256;

/// Window logs in memory, with the semantics of the Redis store.
///
/// Memory is bounded twice. A client whose log no longer counts is dropped when others are busy (a
/// few per request) or by [`sweep`](Self::sweep). And the whole never grows past the bound given to
/// [`new`](Self::new): at the bound, the client that was silent longest is forgotten, which gives that
/// one client a new quota; [`evictions`](Self::evictions) counts how often.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Shards<Shard>,
    shard_bytes: usize,
    clock: BootClock,
    evictions: AtomicU64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    client: ClientId,
    policy: PolicyName,
}

#[derive(Debug)]
struct Entry {
    quota: Quota,
    log: WindowLog,
}

/// Clients, and what they cost.
#[derive(Debug, Default)]
struct Shard {
    /// One list for each length of window, so that nobody becomes idle before whoever stands in front. There are as
    /// many as policies differ in it: a few.
    lists: Vec<List>,
    bytes: usize,
}

/// Logs of one length of window, in the order of their newest entry: whoever was silent longest stands in front.
#[derive(Debug)]
struct List {
    window: Duration,
    logs: LinkedHashMap<Key, Entry>,
}

impl MemoryStore {
    /// An empty store that holds at most about `max_bytes` of logs.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            shards: Shards::default(),
            shard_bytes: max_bytes / SHARDS,
            clock: BootClock::new(),
            evictions: AtomicU64::new(0),
        }
    }

    /// Logs and decides a request. Never waits for more than a lock held for microseconds.
    pub fn decide(&self, policy: &Policy, client: ClientId, at: LogTime) -> Decision {
        let key = Key {
            client,
            policy: policy.name.clone(),
        };
        let mut shard = self.shards.of(&key);
        let shard = &mut *shard;
        shard.drop_idle(at, SWEEP_PER_REQUEST);

        let entry = match List::of(&mut shard.lists, policy.quota.window())
            .logs
            .entry(key)
        {
            Occupied(mut known) => {
                known.to_back();
                known.into_mut()
            }
            Vacant(new) => {
                shard.bytes += CLIENT_OVERHEAD_BYTES;
                new.insert(Entry {
                    quota: policy.quota,
                    log: WindowLog::default(),
                })
            }
        };
        let before = entry.log.heap_bytes();
        let decision = entry.log.record(policy.quota, at);
        shard.bytes = shard.bytes + entry.log.heap_bytes() - before;

        while shard.bytes > self.shard_bytes && shard.clients() > 1 {
            shard.drop_longest_silent();
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        decision
    }

    /// Drops every client whose log no longer counts. Called now and then, because requests drop only a few. Holds no
    /// lock for longer than a few hundred of them take.
    pub fn sweep(&self) {
        let now = self.now();
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

    /// Clients that are remembered at the moment.
    pub fn clients(&self) -> usize {
        self.shards.all().map(|shard| shard.clients()).sum()
    }

    /// Bytes that their logs occupy, about.
    pub fn bytes(&self) -> usize {
        self.shards.all().map(|shard| shard.bytes).sum()
    }

    /// How often a client was forgotten while its log still counted, for want of memory.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

impl Shard {
    fn clients(&self) -> usize {
        self.lists.iter().map(|list| list.logs.len()).sum()
    }

    /// Drops up to `most` clients that no longer count. Returns how many there were.
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

    /// Drops the client whose newest entry is the oldest of all.
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

    /// Lets go of tables that were made for far more clients than there are. Moving the few that are left is quick.
    fn give_back_room(&mut self) {
        for list in &mut self.lists {
            if list.logs.len() < list.logs.capacity() / 8 {
                list.logs.shrink_to_fit();
            }
        }
    }
}

impl List {
    /// The list of a shard's clients whose window is so long.
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

    /// Forgets whoever was silent longest. Returns the bytes that this frees, about.
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

#[async_trait]
impl WindowStore for MemoryStore {
    fn name(&self) -> &'static str {
        "local"
    }

    fn now(&self) -> LogTime {
        LogTime::from_micros(self.clock.micros())
    }

    async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, WindowStoreError> {
        Ok(self.decide(policy, client, at))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u32) -> ClientId {
        ClientId::new(Ipv4Addr::from_bits(number).into(), 64)
    }

    fn policy(quota: &str) -> Policy {
        Policy::default_policy(quota.parse().expect("a quota"))
    }

    #[test]
    fn idle_clients_are_dropped_while_others_are_busy() {
        let store = MemoryStore::new(64 << 20);
        let policy = policy("10/s");
        for number in 0..10_000 {
            store.decide(&policy, client(number), LogTime::from_micros(0));
        }
        assert_eq!(store.clients(), 10_000);
        for number in 20_000..24_000 {
            store.decide(&policy, client(number), LogTime::from_micros(1_000_000));
        }
        assert_eq!(store.clients(), 4_000);
        assert_eq!(store.evictions(), 0, "idle is not evicted");
    }

    #[test]
    fn a_sweep_drops_the_idle_even_behind_a_longer_window() {
        let store = MemoryStore::new(64 << 20);
        let long = Policy {
            name: "longer".parse().expect("a name"),
            quota: "10/hour".parse().expect("a quota"),
        };
        let at = store.now();
        for number in 0..1_000 {
            store.decide(&long, client(number), at);
        }
        let short = policy("10/ms");
        for number in 0..1_000 {
            store.decide(&short, client(number), at);
        }
        while store.now() - at < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        store.sweep();
        assert_eq!(store.clients(), 1_000);
        assert_eq!(store.bytes(), 1_000 * (CLIENT_OVERHEAD_BYTES + 4 * 8));
    }

    #[test]
    fn a_million_clients_stay_within_the_bound_and_the_newest_are_exact() {
        let bound = 16 << 20;
        let store = MemoryStore::new(bound);
        let policy = policy("2/minute");
        for number in 0..1_000_000_u32 {
            store.decide(&policy, client(number), LogTime::from_micros(number.into()));
        }
        assert!(store.bytes() <= bound, "{} bytes", store.bytes());
        assert!(store.evictions() > 0);
        let newest = client(999_999);
        let at = LogTime::from_micros(1_000_001);
        assert!(store.decide(&policy, newest, at).admitted);
        assert!(!store.decide(&policy, newest, at).admitted);
    }

    #[test]
    fn a_busy_client_is_not_forgotten_for_newcomers() {
        let store = MemoryStore::new(1 << 20);
        let policy = policy("2/minute");
        let busy = client(u32::MAX);
        let mut admitted = 0;
        for number in 0..100_000_u32 {
            let at = LogTime::from_micros(number.into());
            store.decide(&policy, client(number), at);
            if number % 100 == 0 {
                admitted += u32::from(store.decide(&policy, busy, at).admitted);
            }
        }
        assert!(store.evictions() > 0);
        assert_eq!(admitted, 2);
    }

    #[test]
    fn at_the_bound_whoever_was_silent_longest_goes_whatever_its_window() {
        let store = MemoryStore::new(SHARDS * 64 * 1024);
        let (long, short) = (policy("1/hour"), policy("1/minute"));
        let at = LogTime::from_micros;
        for number in 0..1_000 {
            store.decide(&long, client(number), at(number.into()));
        }
        for number in 1_000..2_000 {
            store.decide(&short, client(number), at(number.into()));
        }
        for number in 0..1_000 {
            store.decide(&long, client(number), at(2_000 + i64::from(number)));
        }
        assert_eq!(store.evictions(), 0, "there is room for so many");
        // Whoever asked before the moment 2,000 has to go first: nobody of the longer window did.
        let mut newcomers = 2_000;
        while store.evictions() < 200 {
            newcomers += 1;
            store.decide(&short, client(newcomers), at(10_000));
        }
        let refused = |number: &u32| !store.decide(&long, client(*number), at(10_001)).admitted;
        assert_eq!((0..1_000).filter(refused).count(), 1_000);
    }

    #[test]
    fn policies_count_apart() {
        let store = MemoryStore::new(1 << 20);
        let default = policy("1/minute");
        let other = Policy {
            name: "other".parse().expect("a name"),
            quota: default.quota,
        };
        let at = LogTime::from_micros(1);
        assert!(store.decide(&default, client(1), at).admitted);
        assert!(store.decide(&other, client(1), at).admitted);
        assert!(!store.decide(&other, client(1), at).admitted);
    }
}
