//! The limiter: how many requests a client may make, decided exactly.
//!
//! The words: a *client* is who is counted ([`ClientId`]); a [`Quota`] is how many requests it may
//! make in a window; a *window log* holds the arrival times of its recent requests; a
//! [`Decision`] is what the log says about the request that was just logged.
//!
//! One rule, whatever the store: **every** request is logged at its arrival time `t`, refused ones
//! too, and it is admitted iff the entries in `(t − W, t]`, itself included, number at most `L`.
//!
//! | file | what it holds |
//! |---|---|
//! | `quota` | `10/minute` and the like |
//! | `client` | who is counted |
//! | `window` | the log and the decision, pure |
//! | `store` | the trait that every store of logs implements |
//! | `redis`, `memory` | the two stores |
//! | `shield`, `shielded` | refusals that need no round trip |
//! | `breaker`, `fallback` | what happens while Redis is away |
//! | `boot_clock` | time that nobody can set |
//!
//! Nothing here knows of HTTP or of the configuration file.

mod boot_clock;
mod breaker;
mod client;
mod fallback;
mod memory;
mod metrics;
mod once_a_minute;
mod policy;
mod quota;
mod redis;
mod shards;
mod shield;
mod shielded;
mod store;
mod window;

pub use breaker::Breaker;
pub use client::ClientId;
pub use fallback::{Limiter, OnRedisFailure, Ruling, Source};
pub use memory::MemoryStore;
pub use metrics::{RedisOperation, register_limiter_metrics};
pub use once_a_minute::OnceAMinute;
pub use policy::{InvalidPolicyName, Policy, PolicyName};
pub use quota::{InvalidQuota, Quota};
pub use redis::{
    ClockStep, InvalidKeyPrefix, InvalidRedisUrl, KeyPrefix, RedisEndpoint, RedisOptions,
    RedisStore,
};
use shield::LogEntry;
pub use shielded::ShieldedRedis;
pub use store::{Refusal, StoreError, WindowStore};
pub use window::{Decision, LogTime, WindowLog};
