//! HTTP: the public listener and the management listener.
//!
//! The modules of the public listener, from the outside in:
//!
//! | module | what it does |
//! |---|---|
//! | `server`, `state` | puts the public listener together; what every request can reach |
//! | `net` | sockets: which bytes reach the parser, and how long a client may take |
//! | `serve` | the way of a request: the limit, its route, the common headers |
//! | `edge` | what the service knows of a request, found out once |
//! | `authenticate` | whose API key a request presents, and whether the key is valid |
//! | `key_look_ups` | look-ups of keys that requests share |
//! | `rate_limit` | asks the limiter, and tells the client the outcome in headers |
//! | `routes` | which handler answers which route |
//! | `redirect`, `password`, `about`, `home`, `shorten`, `assets`, `api` | the handlers |
//! | `nowhere` | codes that lead nowhere, or only as they are written |
//! | `places` | the few places of requests that take more memory and time than others |
//! | `fields` | the fields of a body, and what their values may be |
//! | `problem`, `page`, `refuse` | errors: as problem+json, as a page, as the client wants it |
//! | `observe`, `metrics` | metrics and the access line |
//!
//! `management` is the other listener: probes and metrics.

mod about;
mod api;
mod assets;
mod authenticate;
mod edge;
mod fields;
mod home;
mod key_look_ups;
mod management;
mod metrics;
mod net;
mod nowhere;
mod observe;
mod page;
mod password;
mod places;
mod problem;
mod rate_limit;
mod redirect;
mod refuse;
mod routes;
mod serve;
mod server;
mod shorten;
mod state;

pub use api::openapi_document;
pub use edge::{Cors, TrustedProxies};
pub use key_look_ups::KeyLookUps;
pub use management::{Management, management_server};
pub use metrics::HttpMetrics;
pub use net::{Gate, Listener, Peer};
pub use places::Places;
pub use rate_limit::{RateLimit, Rule};
pub use server::{Timeouts, public_server};
pub use state::{AppState, Draining};
