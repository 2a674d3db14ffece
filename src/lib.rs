//! Shunt: a self-hosted URL shortener whose nodes share one exact rate limit.
//!
//! | module | what it is about |
//! |---|---|
//! | [`db`] | databases: their connections, migrations and health |
//! | [`links`] | what a short link is, and the stores that keep it |
//! | [`keys`] | what an API key is and allows, and the stores that keep it |
//! | [`owner`] | whom links and keys belong to |
//! | [`titles`] | titles of pages, for links that were made without one |
//! | [`limiter`] | quotas, window logs, and the stores that keep those |
//! | [`public`] | routes, URLs and origins as value types, for `config`, `http` and `links` |
//! | [`http`] | the public listener and the management listener |
//! | [`config`] | the configuration file, the environment, the flags |
//! | [`telemetry`] | logs and metrics |
//! | [`descriptors`] | how many files and sockets may be open |
//! | [`scheduling`] | how the kernel schedules the threads |
//! | [`app`] | wires a node together: the only place that names concrete stores |
//! | [`lifecycle`] | runs, drains and stops a node |
//!
//! `links`, `keys` and `limiter` know nothing of HTTP, of the configuration, or of each other, except that a key may
//! have a quota. `links` and `keys` keep what they have in `db`. `http` uses all of them. `app` wires them together, and
//! the commands of the binary use `app`. A picture of a request's path is in `docs/architecture.md`.

pub mod app;
pub mod config;
pub mod db;
pub mod descriptors;
pub mod http;
pub mod keys;
pub mod lifecycle;
pub mod limiter;
pub mod links;
pub mod owner;
pub mod public;
pub mod scheduling;
pub mod telemetry;
pub mod titles;
