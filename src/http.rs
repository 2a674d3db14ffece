//! HTTP: the public listener and the management listener.
//!
//! A request passes, from the outside in: `slow_client` (the socket; `intake` says how much of it at a time), `observe` (request id, metrics, access
//! line), `rate_limit`, the routes, a handler. Those are plain functions, each of which calls the next.

mod assets;
mod backlog;
mod client_ip;
mod closing;
mod cors;
mod error;
mod form;
mod handlers;
mod intake;
mod listener;
mod local_address;
mod management;
mod observe;
mod onlooker;
mod origin;
mod page;
mod rate_limit;
mod request_id;
mod resource;
mod routes;
mod server;
mod slow_client;
mod state;

pub use client_ip::TrustedProxies;
pub use cors::Cors;
pub use listener::{Gate, Listener};
pub use management::{Management, management_server};
pub use onlooker::ONLOOKERS;
pub use rate_limit::{RateLimit, RateLimitRule};
pub use server::{Timeouts, public_server};
pub use state::{AppState, Draining};
