//! The addresses of this service itself: short links begin with one, and must not lead to any.

use std::net::{IpAddr, SocketAddr};

use tracing::warn;
use url::{Host, Url};

use super::local_address::is_local;
use crate::{
    http::{AppState, problem::ApiError},
    links::TargetUrl,
    public::PublicUrl,
    telemetry::chain,
};

/// What the short link to `target` begins with: the configured URL, else the origin that the request came to, else the
/// listener.
///
/// The target must not be this service itself, because a short link to a short link could lead in circles. Names other
/// than `localhost` are not looked up.
///
/// # Errors
/// [`ApiError::Malformed`] if none of the three is known; [`ApiError::Unacceptable`] for a loop;
/// [`ApiError::Unavailable`] if it is not possible to tell whether it is one.
pub(in crate::http) fn base_url(
    state: &AppState,
    requested: Option<PublicUrl>,
    target: &TargetUrl,
) -> Result<PublicUrl, ApiError> {
    let mut known = state.public_url.iter().chain(&requested);
    let is_own = target.is_http()
        && (known.any(|url| authority(url.url()) == authority(target.url()))
            || is_listener(state.local_addr, target)?);
    if is_own {
        return Err(ApiError::Unacceptable(
            "That is already a link of this service".to_owned(),
        ));
    }
    own_url(state, requested)
}

/// What short links begin with: the configured URL, else the origin that the request came to, else the listener.
///
/// # Errors
/// [`ApiError::Malformed`] if none of the three is known.
pub(in crate::http) fn own_url(
    state: &AppState,
    requested: Option<PublicUrl>,
) -> Result<PublicUrl, ApiError> {
    let base = state.public_url.clone().or(requested);
    let listener = || listener_url(state.local_addr);
    base.or_else(listener).ok_or_else(|| {
        ApiError::Malformed(
            "The Host header is missing: it is what short links begin with".to_owned(),
        )
    })
}

/// The address that this node listens on, if a link can lead to it.
fn listener_url(address: SocketAddr) -> Option<PublicUrl> {
    let url = format!("http://{address}").parse().ok();
    url.filter(|_| !address.ip().is_unspecified())
}

/// Host and port, without a scheme's default port and without the dot at the end of a full domain name. Behind a proxy
/// the scheme that the client used may not be known, so it must not make a difference.
fn authority(url: &Url) -> (Option<Host<&str>>, Option<u16>) {
    let host = url.host().map(|host| match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(name)),
        address => address,
    });
    (host, url.port().filter(|port| !matches!(port, 80 | 443)))
}

/// Whether the target is the port that this node listens on, by any address of this machine.
fn is_listener(listener: SocketAddr, target: &TargetUrl) -> Result<bool, ApiError> {
    let (host, port) = authority(target.url());
    let default_port = matches!(listener.port(), 80 | 443);
    if port.map_or(!default_port, |port| port != listener.port()) {
        return Ok(false);
    }
    let listens_on = listener.ip().to_canonical();
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
