//! HTTP: the public listener and the management listener.
//!
//! A request passes, from the outside in: `slow_client` (the socket; `intake` says how much of it at a time), `observe` (request id, metrics, access
//! line), `rate_limit`, the routes, a handler. Those are plain functions, each of which calls the next.

mod assets;
mod edge;
mod home;
mod management;
mod metrics;
mod net;
mod observe;
mod page;
mod problem;
mod rate_limit;
mod redirect;
mod refuse;
mod routes;
mod serve;
mod server;
mod shorten;
mod state;

pub use edge::{Cors, TrustedProxies};
pub use management::{Management, management_server};
pub use metrics::HttpMetrics;
pub use net::{Gate, Listener, Peer};
pub use rate_limit::{RateLimit, Rule};
pub use server::{Timeouts, public_server};
pub use state::{AppState, Draining};
