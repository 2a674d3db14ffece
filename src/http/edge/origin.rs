//! The origin that a request came to: scheme and authority.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};

use crate::{http::problem::ApiError, public::PublicUrl};

/// The scheme and the authority that a request came to, as a URL. `None` if the client did not say.
///
/// # Errors
/// [`ApiError::Malformed`] if the `Host` header is not valid.
pub(super) fn requested_origin(
    request: &HttpRequest,
    from_proxy: bool,
) -> Result<Option<PublicUrl>, ApiError> {
    let Some(host) = requested_host(request)? else {
        return Ok(None);
    };
    let scheme = if from_proxy {
        forwarded_scheme(request.headers())
    } else {
        "http"
    };
    let origin = format!("{scheme}://{host}").parse::<PublicUrl>().ok();
    let is_authority =
        |origin: &PublicUrl| origin.url().path() == "/" && host.bytes().all(is_of_authority);
    match origin.filter(is_authority) {
        Some(origin) => Ok(Some(origin)),
        None => Err(invalid_host()),
    }
}

/// Whether a host name, an IP address or a port can have this byte. The URL parser accepts more: it leaves tabs out,
/// decodes `%C2%AD` and leaves that out, and takes `\` for `/`. The link would then begin with another name than the
/// client asked for.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

/// The authority that the client asked for. `None` if there is no `Host` header, which HTTP/1.0 does not know. A header
/// that cannot be read is not the same as none.
fn requested_host(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    // RFC 9112, 3.2.2: if the request line has an authority, the header does not count.
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

/// The scheme that the client used, as a trusted proxy says in `X-Forwarded-Proto`.
///
/// Each proxy of a chain may append the scheme that it was asked with, so the first entry that is a scheme counts. If a
/// client writes one there itself, before proxies that append, it changes only the short link in its own answer.
fn forwarded_scheme(headers: &HeaderMap) -> &'static str {
    let lines = headers.get_all("x-forwarded-proto");
    let mut schemes = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let first = schemes.find_map(|scheme| match scheme.trim_ascii() {
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some("https"),
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some("http"),
        _ => None,
    });
    first.unwrap_or("http")
}
