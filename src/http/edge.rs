//! The edge: from a raw request to what the service knows of it.

mod client_address;
mod cors;
mod forwarded;
mod local_address;
mod onlooker;
mod origin;
mod request_id;
mod resource;

pub use client_address::TrustedProxies;
pub use cors::Cors;
pub(super) use {
    onlooker::{ONLOOKERS, Onlooker},
    origin::origin_for,
    request_id::{REQUEST_ID, request_id},
    resource::{Resource, code, form_action},
};
