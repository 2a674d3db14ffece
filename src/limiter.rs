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
//! | this one | [`Limiter`]: asks Redis, or decides without it |
//! | `outcome` | what the limiter answers |
//! | `with_redis` | Redis behind its breaker: asked while it is there |
//! | `shielded_redis`, `shield` | refusals that need no round trip |
//! | `redis` | the window logs in Redis |
//!
//! The other files:
//!
//! | file | what it holds |
//! |---|---|
//! | `quota`, `policy`, `client` | the values that a decision is about, pure |
//! | `window` | the log and the decision, pure |
//! | `store` | the trait that every store of window logs implements, and its errors |
//! | `memory` | the window logs in this process |
//! | `without_redis` | **every** decision that Redis does not make |
//! | `breaker` | whether requests ask Redis at the moment |
//! | `supervise` | the background work: watches Redis, reconnects, writes back, sweeps |
//! | `report`, `metrics` | what the log says about Redis, and what is measured |
//! | `boot_clock`, `once_a_minute`, `shards` | time that cannot be set, rare log lines, a map of many locks |
//!
//! Nothing here knows of HTTP or of the configuration file.

mod boot_clock;
mod breaker;
mod client;
mod memory;
mod metrics;
mod once_a_minute;
mod outcome;
mod policy;
mod quota;
mod redis;
mod report;
mod shards;
mod shield;
mod shielded_redis;
mod store;
mod supervise;
mod window;
mod with_redis;
mod without_redis;

pub use breaker::Breaker;
pub use client::ClientId;
pub use memory::MemoryStore;
pub use metrics::{RedisOperation, register_limiter_metrics};
pub use once_a_minute::OnceAMinute;
pub use outcome::{Outcome, Source};
pub use policy::{InvalidPolicyName, Policy, PolicyName};
pub use quota::{InvalidQuota, Quota};
pub use redis::{
    ClockStep, InvalidKeyPrefix, InvalidRedisUrl, KeyPrefix, RedisEndpoint, RedisOptions,
    RedisStore,
};
pub use shielded_redis::ShieldedRedis;
pub use store::{Misconfiguration, WindowStore, WindowStoreError};
pub use window::{Decision, LogTime, WindowLog};
pub use without_redis::OnRedisFailure;

use window::LogEntry;
use with_redis::RedisLimiter;
use without_redis::{NoRedis, WithoutRedis};

/// Decides requests: in Redis if there is one. A request never waits for a Redis that is known to be away.
pub struct Limiter {
    redis: Option<RedisLimiter>,
    without_redis: WithoutRedis,
}

impl Limiter {
    /// A limiter with no Redis: this process counts alone.
    pub fn embedded(local: MemoryStore) -> Self {
        Self {
            redis: None,
            without_redis: WithoutRedis::new(local, OnRedisFailure::Local),
        }
    }

    /// A limiter that all nodes on the same Redis have in common. It tries to connect once. If that fails, it starts
    /// with an open breaker, and recovers only while [`supervise`](Self::supervise) runs.
    ///
    /// # Errors
    /// [`Misconfiguration::ClusterMember`]: this does not go away by itself, so the node does not start.
    pub async fn with_redis(
        redis: ShieldedRedis,
        local: MemoryStore,
        on_failure: OnRedisFailure,
    ) -> Result<Self, WindowStoreError> {
        Ok(Self {
            redis: Some(RedisLimiter::connect(redis, on_failure).await?),
            without_redis: WithoutRedis::new(local, on_failure),
        })
    }

    /// Logs a request of `client` and decides it under `policy`.
    pub async fn decide(&self, policy: &Policy, client: ClientId) -> Outcome {
        let why = match &self.redis {
            Some(redis) => match redis.decide(policy, client).await {
                Ok((decision, source)) => return Outcome::Decided(decision, source),
                Err(why) => why,
            },
            None => NoRedis::NotConfigured,
        };
        self.without_redis.decide(why, policy, client)
    }

    /// The store in this process.
    pub fn local(&self) -> &MemoryStore {
        self.without_redis.local()
    }

    /// Redis and its breaker, if there is one.
    pub fn redis(&self) -> Option<(&ShieldedRedis, &Breaker)> {
        self.redis
            .as_ref()
            .map(|redis| (redis.store(), redis.breaker()))
    }

    /// Whether limited requests get anything but [`Outcome::Unavailable`] at the moment.
    pub fn can_serve(&self) -> bool {
        let is_away = |redis: &RedisLimiter| redis.breaker().is_open();
        !self.redis.as_ref().is_some_and(is_away) || self.without_redis.serves_during_outage()
    }
}
