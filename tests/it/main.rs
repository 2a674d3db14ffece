//! Integration tests: the real program against real servers, which `crates/testkit` starts.
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
//! | `faults` | Redis or Postgres killed, frozen, restarted; a database that takes no writes, or has lost its file |
//! | `cluster` | the same through nginx, with two and three nodes; `make faults` prints its figures |
//! | `nginx` | nginx and two nodes: every limit at its edge, what clients may hold, the log, certificates |
//! | `environment` | what a node does not choose: variables of others, the limit of open files |
//! | `documented` | commands of `docs/` do what the page says |
//! | `lifecycle` | start, stop, commands, configuration errors |
//! | `logs` | what becomes of log lines, and that nothing waits for their reader |
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(missing_docs, unreachable_pub)]

mod api;
mod cache;
mod cluster;
mod documented;
mod environment;
mod faults;
mod lifecycle;
mod limits;
mod logs;
mod nginx;
mod redis_acl;
mod redis_connections;
mod shield;
mod stores;
