//! The edge: what the service knows of a request, found out once, before anything acts on it.
//!
//! | file | what it holds |
//! |---|---|
//! | `context` | the request and all that is known of it; every handler gets one |
//! | `resource` | what a path names |
//! | `client_address`, `forwarded` | the client: the peer, or the address that a trusted proxy names |
//! | `credential` | the API key that a request presents |
//! | `request_id` | `X-Request-Id` |
//! | `origin` | the scheme and the authority that a request came to |
//! | `accept` | whether the client asks for a page |
//! | `onlooker` | machines that only look at a link |
//! | `body` | reading bodies, with a bound on size and time |
//! | `cors` | which pages of other sites may shorten, and use the API |

mod accept;
mod body;
mod client_address;
mod context;
mod cors;
mod credential;
mod forwarded;
mod onlooker;
mod origin;
mod request_id;
mod resource;

pub(super) use self::{
    body::{discard_body, read_body},
    context::RequestContext,
    credential::{Credential, without_key},
    onlooker::Onlooker,
    request_id::REQUEST_ID,
    resource::{Resource, code, code_asked_about, segments_below_api},
};
pub use self::{client_address::TrustedProxies, cors::Cors};
