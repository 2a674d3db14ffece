//! Integration tests: the real program against real servers, which `crates/testkit` starts.
//!
//! | module | what it shows |
//! |---|---|
//! | `stores` | one contract per trait, run on every implementation; the model test |
//! | `api` | what a client sees of one node |
//! | `keys` | requests with an API key: whose they are, what they may, how many they may be |
//! | `api_v1` | programs manage links |
//! | `passwords` | links with a password, and what everybody may know of a link |
//! | `limits` | the limit over several nodes: exact under load, even if clocks differ |
//! | `cache` | redirects from memory: what they save, and that they never use what is no longer true |
//! | `titles` | links get the titles of their pages, and the node connects to nothing private |
//! | `shield` | floods that a node refuses by itself: clients and other nodes cannot tell |
//! | `redis_acl` | which rights a node needs in Redis, and what it says if one is missing |
//! | `redis_connections` | a connection for each thread, and what happens when Redis ends them or allows none |
//! | `redis_sentinel` | the Sentinels are asked once for all threads; all threads follow a failover, a planned one too |
//! | `redis_cluster` | slots that move, and a server of a cluster that is away |
//! | `redis_tls` | encrypted connections to one server, a Sentinel group and a cluster |
//! | `exactness` | no client gets more than its quota, whatever happens to Redis, its connections and the nodes |
//! | `faults` | Redis or Postgres killed, frozen, restarted; a database that fails in part, or has lost its file |
//! | `cluster` | the same through nginx, with two and three nodes; `make faults` prints its figures |
//! | `nginx` | nginx and two nodes: every limit at its edge, what clients may hold, the log, certificates |
//! | `environment` | what a node does not choose: variables of other programs, the limit of open files |
//! | `documented` | the commands in `docs/` do what the page says |
//! | `lifecycle` | start, commands, configuration errors |
//! | `key_commands` | `shunt keys`, also while a node runs on the same database |
//! | `upgrade` | the previous release beside this one, on one database: `make upgrade-test` |
//! | `shutdown` | what a node does from the first stop signal to its end |
//! | `logs` | where log lines go, and that a node never waits for their reader |
//! | `metric_names` | the names of metrics in the code, the documentation, the dashboard and the alerts |
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(missing_docs, unreachable_pub)]

mod api;
mod api_v1;
mod cache;
mod cluster;
mod documented;
mod environment;
mod exactness;
mod faults;
mod key_commands;
mod keys;
mod lifecycle;
mod limits;
mod logs;
mod metric_names;
mod nginx;
mod passwords;
mod redis_acl;
mod redis_cluster;
mod redis_connections;
mod redis_sentinel;
mod redis_tls;
mod shield;
mod shutdown;
mod stores;
mod titles;
mod upgrade;
