//! The address that a request came to: what its short link begins with, and what it must not lead to.

use std::net::IpAddr;

use actix_web::{HttpRequest, http::header};
use tracing::warn;
use url::{Host, Url};

use super::local_address::is_local;
use crate::{
    http::{AppState, problem::ApiError},
    links::TargetUrl,
    public::PublicUrl,
    telemetry::chain,
};

/// What a request to a short link came to: scheme and authority, as a URL. `None` if the client did not say.
///
/// # Errors
/// [`ApiError::Malformed`] if the `Host` header is none, and the link would lead nowhere.
fn request_origin(request: &HttpRequest, state: &AppState) -> Result<Option<PublicUrl>, ApiError> {
    let Some(host) = requested_host(request)? else {
        return Ok(None);
    };
    let scheme = requested_scheme(request, state);
    let origin = format!("{scheme}://{host}").parse::<PublicUrl>().ok();
    let is_authority =
        |origin: &PublicUrl| origin.url().path() == "/" && host.bytes().all(is_of_authority);
    match origin.filter(is_authority) {
        Some(origin) => Ok(Some(origin)),
        None => Err(invalid_host()),
    }
}

/// Whether a host name, an IP address or a port can have it. The URL parser is kinder: it leaves tabs out, decodes `%C2%AD`
/// and leaves that out, and takes `\` for `/`; the link would begin with another name than was asked.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

/// The authority that was asked for. `None` if there is no `Host` header, which HTTP/1.0 does not know; one that cannot
/// be read is not the same as none.
fn requested_host(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    // RFC 9112, 3.2.2: then the header does not count.
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    match request.headers().get(header::HOST) {
        Some(host) => host.to_str().map(Some).map_err(|_| invalid_host()),
        None => Ok(None),
    }
}

fn invalid_host() -> ApiError {
    ApiError::Malformed("The Host header is not valid".to_owned())
}

/// The scheme that the client used: `https` if a trusted proxy says so in `X-Forwarded-Proto`.
///
/// Each proxy of a chain may append what it was asked with, so the first that is a scheme of a request counts. A client
/// that writes one there itself, before proxies that append, changes nothing but the short link in its own answer.
fn requested_scheme(request: &HttpRequest, state: &AppState) -> &'static str {
    let from_proxy = request
        .peer_addr()
        .is_some_and(|peer| state.trusted_proxies.contains(peer.ip()));
    if !from_proxy {
        return "http";
    }
    let lines = request.headers().get_all("x-forwarded-proto");
    let mut schemes = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let first = schemes.find_map(|scheme| match scheme.trim_ascii() {
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some("https"),
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some("http"),
        _ => None,
    });
    first.unwrap_or("http")
}

/// What the short link begins with, after making sure that `target` is not this service itself: a short link to a
/// short link could lead in circles. Names other than `localhost` are not looked up.
///
/// # Errors
/// [`ApiError::Malformed`] for a bad `Host`, or none where one is needed; [`ApiError::Unacceptable`] for a loop;
/// [`ApiError::Unavailable`] if it cannot be told whether it is one.
pub(in crate::http) fn origin_for(
    request: &HttpRequest,
    state: &AppState,
    target: &TargetUrl,
) -> Result<PublicUrl, ApiError> {
    let requested = request_origin(request, state)?;
    let mut known = state.public_url.iter().chain(&requested);
    let is_own = target.is_http()
        && (known.any(|url| authority(url.url()) == authority(target.url()))
            || is_listener(state, target)?);
    if is_own {
        return Err(ApiError::Unacceptable(
            "That is already a link of this service".to_owned(),
        ));
    }
    let origin = state.public_url.clone().or(requested);
    origin.or_else(|| listener_origin(state)).ok_or_else(|| {
        ApiError::Malformed(
            "The Host header is missing: it is what short links begin with".to_owned(),
        )
    })
}

/// The address that this node listens on, if it is one that a link can lead to.
fn listener_origin(state: &AppState) -> Option<PublicUrl> {
    let address = state.local_addr;
    let origin = format!("http://{address}").parse().ok();
    origin.filter(|_| !address.ip().is_unspecified())
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

/// Whether the target is the very port that this node listens on, by any address of this machine.
fn is_listener(state: &AppState, target: &TargetUrl) -> Result<bool, ApiError> {
    let (host, port) = authority(target.url());
    let default_port = matches!(state.local_addr.port(), 80 | 443);
    if port.map_or(!default_port, |port| port != state.local_addr.port()) {
        return Ok(false);
    }
    let listens_on = state.local_addr.ip().to_canonical();
    let on_loopback = listens_on.is_loopback() || listens_on.is_unspecified();
    let address = match host {
        Some(Host::Domain(name)) => {
            return Ok((name == "localhost" || name.ends_with(".localhost")) && on_loopback);
        }
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical(),
        None => return Ok(false),
    };
    if address == listens_on || address.is_unspecified() || address.is_loopback() && on_loopback {
        return Ok(true);
    }
    if !listens_on.is_unspecified() {
        return Ok(false);
    }
    is_local(address).map_err(|error| {
        warn!(
            error = chain(&error),
            "cannot tell whether an address is this machine's own"
        );
        ApiError::Unavailable
    })
}
