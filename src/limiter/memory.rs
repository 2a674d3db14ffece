//! Window logs in this process: for nodes with no Redis.

#[cfg(test)]
mod tests;

use async_trait::async_trait;

use super::{
    ClientId, Decision, LogTime, Policy, WindowLog, WindowStore, WindowStoreError,
    boot_clock::BootClock,
    clients::{ClientLog, Clients, Key, Usage},
};

/// Window logs in memory, with the semantics of the Redis store. A client that is forgotten for want of memory gets a
/// new quota.
#[derive(Debug)]
pub struct MemoryStore {
    logs: Clients<WindowLog>,
    clock: BootClock,
}

impl MemoryStore {
    /// An empty store that holds at most about `max_bytes` of logs.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            logs: Clients::new(max_bytes),
            clock: BootClock::new(),
        }
    }

    /// Logs and decides a request. Waits only for a lock that is held for microseconds.
    pub fn decide(&self, policy: &Policy, client: ClientId, at: LogTime) -> Decision {
        let key = Key::new(policy, client);
        let quota = policy.quota;
        self.logs.log(key, quota, at, |log| log.record(quota, at))
    }

    /// Drops every client whose log no longer counts. Has to be called now and then.
    pub fn sweep(&self) {
        self.logs.sweep(self.now());
    }

    /// What the logs cost at the moment.
    pub fn usage(&self) -> Usage {
        self.logs.usage()
    }
}

impl ClientLog for WindowLog {
    /// In a release build, resident memory grew by about 190 bytes per client with one request, and by 330 per client
    /// with a full log at 10 per minute. This is on the safe side for both.
    const OVERHEAD_BYTES: usize = 200;

    fn newest(&self) -> Option<LogTime> {
        self.newest()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
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
