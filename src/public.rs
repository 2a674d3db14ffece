//! What the service is from outside: the routes it has, the URL that links begin with, the sites and proxies it knows.
//!
//! These are the value types that the configuration sets and that `http` uses, and the words that no link may have as
//! its code. They import nothing else of this crate, so that `config`, `http` and `links` can all import them.

mod client_ip_header;
mod cors_origin;
mod limits;
mod public_url;
mod route;

pub use client_ip_header::{ClientIpHeader, InvalidHeaderName};
pub use cors_origin::{CorsOrigin, InvalidOrigin};
pub use limits::{BULK, EXCEPTIONS, Exception, LARGEST_BODY, RouteLimits, USUAL};
pub use public_url::PublicUrl;
pub use route::{Route, is_reserved, list_of_methods};
