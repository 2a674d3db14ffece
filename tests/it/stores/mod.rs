//! One contract per trait, which runs on every implementation, and the model test.

mod code_case;
mod code_case_index;
mod commits;
mod find;
mod find_index;
mod find_model;
mod key_commits;
mod key_memory;
mod key_numbers;
mod key_table;
mod keys;
mod links;
mod managed;
mod managed_codes;
mod managed_commits;
mod managing;
mod many;
mod migrations;
mod model;
mod options;
mod passwords;
mod place;
pub mod redis_kinds;
mod redis_log;
mod shield;
mod tags;
mod titles;
mod triggers;
mod windows;
mod write_ahead_log;

use std::time::Duration;

use shunt::limiter::{ClientId, KeyPrefix, Policy, RedisOptions, RedisStore};

/// A connected Redis store; another one on the same URL is another node.
pub async fn redis_store(url: &str) -> RedisStore {
    // The contract is about decisions. On a slow machine, none of them may become a timeout.
    redis_store_with(url, Duration::from_secs(5)).await
}

pub async fn redis_store_with(url: &str, timeout: Duration) -> RedisStore {
    let store = RedisStore::new(&RedisOptions {
        endpoint: url.parse().expect("a URL"),
        prefix: KeyPrefix::default(),
        timeout,
    })
    .expect("a store");
    testkit::eventually("the store connects", async || store.reconnect().await.ok()).await;
    store
}

pub fn policy(quota: &str) -> Policy {
    Policy::default_policy(quota.parse().expect("a quota"))
}

pub fn client(number: u32) -> ClientId {
    ClientId::new(std::net::Ipv4Addr::from_bits(number).into(), 64)
}
