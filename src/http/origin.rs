//! The address that a request came to: what its short link begins with, and what it must not lead to.

use std::net::IpAddr;

use actix_web::{HttpRequest, http::header};
use url::{Host, Url};

use super::{AppState, PublicUrl, error::ApiError};
use crate::links::TargetUrl;

/// Scheme and authority that the client used, as a URL.
///
/// The scheme is `https` if a trusted proxy says so in `X-Forwarded-Proto`.
///
/// # Errors
/// [`ApiError::Malformed`] if the `Host` header is none, and the link would lead nowhere.
fn request_origin(request: &HttpRequest, state: &AppState) -> Result<PublicUrl, ApiError> {
    let headers = request.headers();
    let from_proxy = request
        .peer_addr()
        .is_some_and(|peer| state.trusted_proxies.contains(peer.ip()));
    let secure = from_proxy
        && headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let scheme = if secure { "https" } else { "http" };
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok().filter(|host| !host.is_empty()),
        None => None,
    };
    // HTTP/1.0 knows no Host.
    let origin = match host {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{}", state.local_addr),
    };
    let valid = origin.parse::<PublicUrl>().ok();
    valid
        .filter(|origin| origin.url().path() == "/")
        .ok_or_else(|| ApiError::Malformed("The Host header is not valid".to_owned()))
}

/// What the short link begins with, after making sure that `target` is not this service itself: a short link to a
/// short link could lead in circles.
///
/// # Errors
/// [`ApiError::Malformed`] for a bad `Host`, [`ApiError::Unacceptable`] for a loop.
pub(super) fn origin_for(
    request: &HttpRequest,
    state: &AppState,
    target: &TargetUrl,
) -> Result<PublicUrl, ApiError> {
    let requested = request_origin(request, state)?;
    let to_public_url = state
        .public_url
        .as_ref()
        .is_some_and(|url| authority(url.url()) == authority(target.url()));
    if to_public_url
        || authority(requested.url()) == authority(target.url())
        || is_listener(state, target)
    {
        return Err(ApiError::Unacceptable(
            "That is already a link of this service".to_owned(),
        ));
    }
    Ok(state.public_url.clone().unwrap_or(requested))
}

/// Host and port, the port left out if it is a scheme's default: behind a proxy the scheme that the client used may not
/// be known, and must not make a difference. Nor must the dot that ends a full domain name.
fn authority(url: &Url) -> (Option<Host<&str>>, Option<u16>) {
    let host = url.host().map(|host| match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(name)),
        address => address,
    });
    (host, url.port().filter(|port| !matches!(port, 80 | 443)))
}

/// Whether the target is the very port that this node listens on, by any name of the local machine.
fn is_listener(state: &AppState, target: &TargetUrl) -> bool {
    let (host, port) = authority(target.url());
    if port.unwrap_or(80) != state.local_addr.port() {
        return false;
    }
    let listens_on = state.local_addr.ip();
    let reaches = |address: IpAddr| {
        address == listens_on
            || address.is_unspecified()
            || address.is_loopback() && (listens_on.is_loopback() || listens_on.is_unspecified())
    };
    match host {
        Some(Host::Domain(name)) => {
            (name == "localhost" || name.ends_with(".localhost"))
                && (listens_on.is_loopback() || listens_on.is_unspecified())
        }
        Some(Host::Ipv4(address)) => reaches(address.into()),
        Some(Host::Ipv6(address)) => reaches(IpAddr::from(address).to_canonical()),
        None => false,
    }
}
