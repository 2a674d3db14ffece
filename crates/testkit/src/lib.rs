//! Starts what a test needs on free ports in temporary directories, and stops it even when the test panics.

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

pub use client::{Answer, Client};
pub use cluster::Cluster;
pub use limits::{SmallDisk, limit_file_size};
pub use nginx::{Nginx, configuration};
pub use node::{Node, NodeBuilder};
pub use postgres::{Database, Postgres, execute};
pub use process::{Process, find};
pub use proxy::Proxy;
pub use raw::{RawConnection, unread};
pub use redis::Redis;
pub use traffic::{Seen, Traffic};
pub use wait::{eventually, free_port, within};

/// Whether the servers that a test needs are there. Elsewhere than in CI a test without them is skipped, and
/// says so; with CI=true it fails.
pub fn available(programs: &[&str]) -> bool {
    for program in programs {
        if find(program).is_none() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{program} is not installed; `make tools` does"
            );
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    true
}

/// Returns from the test, saying so, where a program is missing.
#[macro_export]
macro_rules! needs {
    ($($program:literal),+) => {
        if !$crate::harness::available(&[$($program),+]) {
            return;
        }
    };
}
