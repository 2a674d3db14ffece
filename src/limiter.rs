//! The limiter: how many requests a client may make, decided exactly.
//!
//! | word | means |
//! |---|---|
//! | [`ClientId`] | the client that a request is counted for |
//! | [`Quota`] | requests per window: `10/minute` |
//! | window | the sliding interval that a quota speaks of |
//! | [`Policy`] | a name and a quota |
//! | [`WindowLog`] | the arrival times of one client's recent requests under one policy |
//! | [`Decision`] | what one window log says of one request |
//! | [`Outcome`] | what the limiter says of a request under one policy |
//!
//! Every store follows the same rule: **every** request is logged at its arrival time `t`, refused ones included, and
//! it is admitted iff at most `L` entries, its own included, lie in `(t − W, t]`.
//!
//! A request that Redis decides goes down this list, and back up:
//!
//! | file | what it holds |
//! |---|---|
//! | this one | [`Limiter`] |
//! | `outcome` | what the limiter answers |
//! | `with_redis` | Redis behind its breaker: asked while it is there |
//! | `without_redis` | **every** decision that Redis does not make |
//! | `journaled_redis`, `journal` | Redis, and what this node remembers: refusals that need no round trip, and what it knows when Redis is away |
//! | `redis` | the window logs in Redis |
//!
//! The other files:
//!
//! | file | what it holds |
//! |---|---|
//! | `quota`, `policy`, `client` | the values that a decision is about, pure |
//! | `window` | the log and the decision, pure |
//! | `store` | the trait that every store of window logs implements, and its errors |
//! | `memory` | the window logs of a node with no Redis |
//! | `clients` | what is kept of many clients, in bounded memory |
//! | `outage` | when a failure of Redis is an outage and not a hiccup, pure |
//! | `breaker` | whether requests ask Redis at the moment |
//! | `nodes` | by how many nodes quotas are divided meanwhile |
//! | `supervise` | the background work: watches Redis, reconnects, beats, writes back, sweeps |
//! | `report`, `metrics` | what the log says about Redis, and what is measured |
//! | `boot_clock`, `once_a_minute`, `shards` | time that cannot be set, rare log lines, a map of many locks |
//!
//! Nothing here knows of HTTP or of the configuration file.

mod boot_clock;
mod breaker;
mod client;
mod clients;
mod journal;
mod journaled_redis;
mod memory;
mod metrics;
mod nodes;
mod once_a_minute;
mod outage;
mod outcome;
mod policy;
mod quota;
mod redis;
mod rejoin;
mod report;
mod shards;
#[cfg(test)]
mod simulation;
mod store;
mod supervise;
mod window;
mod with_redis;
mod without_redis;

pub use breaker::Breaker;
pub use client::ClientId;
pub use clients::Usage;
pub use journaled_redis::{FailedWrite, JournaledRedis, Undecided};
pub use memory::MemoryStore;
pub use metrics::{RedisOperation, register_limiter_metrics};
pub use once_a_minute::OnceAMinute;
pub use outcome::{Outcome, Source};
pub use policy::{InvalidPolicyName, Policy, PolicyName};
pub use quota::{InvalidQuota, Quota};
pub use redis::{
    ClockStep, InvalidKeyPrefix, InvalidRedisUrl, KeyPrefix, RedisEndpoint, RedisOptions,
    RedisStore, Server as RedisServer, ServerRun,
};
pub use store::{Misconfiguration, WindowStore, WindowStoreError};
pub use window::{Decision, LogTime, WindowLog};
pub use without_redis::OnRedisFailure;

use std::num::NonZeroU32;

use window::LogEntry;
use with_redis::RedisLimiter;
use without_redis::NoRedis;

/// Decides requests: in Redis if there is one. A request never waits for a Redis that is known to be away.
pub struct Limiter(Logs);

/// Where the window logs are.
#[expect(clippy::large_enum_variant, reason = "there is one limiter")]
enum Logs {
    Memory(MemoryStore),
    Redis(RedisLimiter),
}

impl Limiter {
    /// A limiter with no Redis: this process counts alone.
    pub fn embedded(logs: MemoryStore) -> Self {
        Self(Logs::Memory(logs))
    }

    /// A limiter that all nodes on the same Redis have in common. It tries to connect once. If that fails, it starts
    /// with an open breaker, and recovers only while [`supervise`](Self::supervise) runs.
    ///
    /// `nodes` is by how many nodes [`OnRedisFailure::Split`] divides; `None`: by as many as beat in Redis.
    ///
    /// # Errors
    /// [`Misconfiguration::ClusterMember`]: this does not go away by itself, so the node does not start.
    pub async fn with_redis(
        redis: JournaledRedis,
        on_failure: OnRedisFailure,
        nodes: Option<NonZeroU32>,
    ) -> Result<Self, WindowStoreError> {
        let redis = RedisLimiter::connect(redis, on_failure, nodes).await?;
        Ok(Self(Logs::Redis(redis)))
    }

    /// Logs a request of `client` and decides it under `policy`.
    pub async fn decide(&self, policy: &Policy, client: ClientId) -> Outcome {
        match &self.0 {
            Logs::Memory(logs) => {
                let decision = logs.decide(policy, client, logs.now());
                Outcome::Decided(decision, Source::Local)
            }
            Logs::Redis(redis) => redis.decide(policy, client).await,
        }
    }

    /// What the clients cost that are counted in this process.
    pub fn usage(&self) -> Usage {
        match &self.0 {
            Logs::Memory(logs) => logs.usage(),
            Logs::Redis(redis) => redis.store().usage(),
        }
    }

    /// Redis, if there is one.
    pub fn redis(&self) -> Option<&JournaledRedis> {
        self.redis_limiter().map(RedisLimiter::store)
    }

    /// How far Redis is there. `None` if none is configured.
    pub fn redis_state(&self) -> Option<RedisState> {
        let (servers, away) = self.redis_limiter()?.away();
        Some(match away.len() {
            0 => RedisState::Up,
            away if away == servers => RedisState::Down,
            _ => RedisState::Degraded(away.into_iter().flatten().collect()),
        })
    }

    /// How often Redis, or a server of it, went away since the start.
    pub fn redis_outages(&self) -> u64 {
        self.redis_limiter().map_or(0, RedisLimiter::times_opened)
    }

    /// By how many nodes the quotas are divided while Redis is away: 1 to 1000, or 0 without Redis.
    pub fn nodes(&self) -> u32 {
        let redis = self.redis_limiter();
        redis.map_or(0, |redis| redis.nodes().number().get())
    }

    /// Whether limited requests get anything but [`Outcome::Unavailable`] at the moment.
    pub fn can_serve(&self) -> bool {
        self.redis_state() != Some(RedisState::Down) || self.can_serve_without_redis()
    }

    /// Whether limited requests get anything but [`Outcome::Unavailable`] while Redis is away.
    pub fn can_serve_without_redis(&self) -> bool {
        self.redis_limiter()
            .is_none_or(RedisLimiter::can_serve_without_redis)
    }

    fn redis_limiter(&self) -> Option<&RedisLimiter> {
        match &self.0 {
            Logs::Memory(_) => None,
            Logs::Redis(redis) => Some(redis),
        }
    }
}

/// How far Redis is there for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisState {
    /// Requests ask Redis.
    Up,
    /// These servers of a cluster are away. The requests of their clients do not ask Redis.
    Degraded(Vec<String>),
    /// No request asks Redis.
    Down,
}
