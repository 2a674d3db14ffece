//! Window logs in this process: for nodes with no Redis, and while Redis is away.

mod shard;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use self::shard::{Key, Shard};
use super::{
    ClientId, Decision, LogTime, Policy, WindowStore, WindowStoreError,
    boot_clock::BootClock,
    shards::{SHARDS, Shards},
};

/// How many clients a request drops at most, so that no single request pays for a long quiet time.
const SWEEP_PER_REQUEST: usize = 4;

/// How many clients a sweep drops before it lets requests of the same shard pass.
const SWEEP_AT_ONCE: usize = 256;

/// Window logs in memory, with the semantics of the Redis store.
///
/// Memory is bounded twice. Requests drop a few clients each whose logs no longer count, and a [`sweep`](Self::sweep)
/// drops all of them. And the whole never grows past the bound that [`new`](Self::new) was given: at the bound, the
/// store forgets the client that was silent longest, and that client gets a new quota. [`evictions`](Self::evictions)
/// counts how often this happened.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Shards<Shard>,
    shard_bytes: usize,
    clock: BootClock,
    evictions: AtomicU64,
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

    /// Logs and decides a request. Waits only for a lock that is held for microseconds.
    pub fn decide(&self, policy: &Policy, client: ClientId, at: LogTime) -> Decision {
        let key = Key {
            client,
            policy: policy.name.clone(),
        };
        let mut shard = self.shards.of(&key);
        shard.drop_idle(at, SWEEP_PER_REQUEST);
        let decision = shard.record(key, policy.quota, at);
        while shard.bytes() > self.shard_bytes && shard.clients() > 1 {
            shard.drop_longest_silent();
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        decision
    }

    /// Drops every client whose log no longer counts. Has to be called now and then, because requests drop only a few.
    /// Holds each lock only for as long as a few hundred clients take.
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

    /// How many clients are remembered.
    pub fn clients(&self) -> usize {
        self.shards.all().map(|shard| shard.clients()).sum()
    }

    /// How many bytes their logs occupy, about.
    pub fn bytes(&self) -> usize {
        self.shards.all().map(|shard| shard.bytes()).sum()
    }

    /// How often a client was forgotten for want of memory, while its log still counted.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
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
