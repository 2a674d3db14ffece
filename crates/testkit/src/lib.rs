//! Starts Shunt and the servers that it needs: Redis, Postgres, nginx.
//!
//! Tests, benchmarks and `make cluster` start them with the same code. Every server listens on free ports, keeps its
//! files in a temporary directory, and ends with the process that started it, even if that panics or is killed.
//!
//! | module | what it holds |
//! |---|---|
//! | `node` | the program itself |
//! | `redis`, `postgres`, `nginx` | the servers around it |
//! | `cluster` | all of them together |
//! | `client`, `traffic`, `raw` | requests: one, many without end, and byte by byte |
//! | `proxy`, `wire`, `limits` | faults: a cable that can be cut, connections that lose something, a disk that is full |
//! | `process`, `wait` | child processes; waiting for a condition, with a bound |
//!
//! Functions here panic instead of returning errors, so anything that goes wrong fails the test.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod client;
mod cluster;
mod limits;
mod nginx;
mod node;
mod postgres;
mod process;
mod proxy;
mod raw;
mod redis;
mod traffic;
mod wait;
mod wire;

pub use client::{Answer, Client};
pub use cluster::Cluster;
pub use limits::{SmallDisk, limit_file_size};
pub use nginx::{Nginx, configuration};
pub use node::{Metrics, Node, NodeBuilder, program};
pub use postgres::{Database, Postgres, execute};
pub use process::{Process, find};
pub use proxy::Proxy;
pub use raw::{RawConnection, unread};
pub use redis::Redis;
pub use traffic::{Seen, Traffic};
pub use wait::{eventually, free_port, wall_clock, within};
pub use wire::{Fate, Wire};

/// Whether every program is installed.
///
/// # Panics
/// If one is missing and the environment has `CI=true`, so that CI never skips a test.
pub fn available(programs: &[&str]) -> bool {
    for program in programs {
        if find(program).is_none() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{program} is not installed; `make tools` installs it"
            );
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    true
}

/// Returns from the test if a program is [not installed](available).
#[macro_export]
macro_rules! needs {
    ($($program:literal),+) => {
        if !$crate::available(&[$($program),+]) {
            return;
        }
    };
}
