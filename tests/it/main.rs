//! Integration tests: the real program against real servers.
//!
//! | module | what it shows |
//! |---|---|
//! | `stores` | one contract per trait, run on every implementation; the model test |
//! | `api` | what a client sees of one node |
//! | `limits` | the limit over several nodes: exact under fire, whatever the clocks say |
//! | `cache` | redirects from memory: what they save, and that nobody is told what is no longer true |
//! | `shield` | floods that a node refuses by itself: nothing that a client or another node sees gives it away |
//! | `redis_acl` | what Redis has to allow, and what a node says where it does not |
//! | `redis_connections` | a connection for each thread, and what happens when Redis ends them or allows none |
//! | `faults` | Redis or Postgres killed, frozen, restarted |
//! | `cluster` | the same through nginx, with two and three nodes; `make faults` prints its figures |
//! | `lifecycle` | start, stop, commands, configuration errors |
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(missing_docs, unreachable_pub)]

mod api;
mod cache;
mod cluster;
mod faults;
mod harness;
mod lifecycle;
mod limits;
mod redis_acl;
mod redis_connections;
mod shield;
mod stores;
