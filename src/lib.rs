//! Shunt: a self-hosted URL shortener whose nodes share one exact rate limit.
//!
//! | module | what it is about |
//! |---|---|
//! | [`links`] | what a short link is, and the stores that keep it |
//! | [`limiter`] | quotas, window logs, and the stores that keep those |
//! | [`public`] | routes, URLs and origins as value types, for `config` and `http` |
//! | [`http`] | the public listener and the management listener |
//! | [`config`] | the configuration file, the environment, the flags |
//! | [`telemetry`] | logs and metrics |
//! | [`descriptors`] | how many files and sockets may be open |
//! | [`scheduling`] | how the kernel schedules the threads |
//! | [`app`] | puts it all together: the only place that names concrete stores |
//!
//! `links` and `limiter` know nothing of HTTP, of the configuration, or of each other; `http` uses both; `app`
//! wires; the binary starts. A picture of a request's path is in `docs/architecture.md`.

pub mod app;
pub mod config;
pub mod descriptors;
pub mod http;
pub mod limiter;
pub mod links;
pub mod public;
pub mod scheduling;
pub mod telemetry;
