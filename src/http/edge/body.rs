//! Reads bodies, and throws away those of refused requests.

use std::time::Duration;

use actix_web::{
    dev::Payload,
    http::header::{self, HeaderMap},
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::RequestContext;
use crate::{
    http::{net::TakingBody, problem::ApiError},
    public::LARGEST_BODY,
};

/// How long the body of a refused request may take to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The body, if it is no longer than the limits of the request say, arrives within `within` and needs no decoding.
///
/// # Errors
/// [`ApiError::UnsupportedCoding`], [`ApiError::TooLarge`], [`ApiError::TooSlow`], or [`ApiError::Malformed`] for a
/// body that ends too early.
pub(in crate::http) async fn read_body(
    context: &RequestContext,
    payload: Payload,
    within: Duration,
) -> Result<Bytes, ApiError> {
    if is_coded(context.headers()) {
        discard_body(context, payload).await;
        return Err(ApiError::UnsupportedCoding);
    }
    let length = content_length(context.headers());
    let at_most = context.limits().body;
    if length.is_some_and(|length| length > at_most) {
        discard_body(context, payload).await;
        return Err(ApiError::TooLarge);
    }
    let _taking = take_body(context, length);
    match timeout(within, collect(payload, at_most)).await {
        Ok(body) => body,
        Err(_) => Err(ApiError::TooSlow),
    }
}

/// Reads the body of a refused request and throws it away. actix-web closes a connection whose request was not read to
/// its end. A client that is over its quota (or nginx in front of many) would then open a new connection after every
/// refusal.
///
/// A body may be as long as the longest of any path: nginx looks at neither the method nor at how the path is written,
/// and takes `/api/v1/links/x/../bulk` for a path with long bodies.
pub(in crate::http) async fn discard_body(context: &RequestContext, mut payload: Payload) {
    let length = content_length(context.headers());
    if length.is_some_and(|length| (1..=LARGEST_BODY).contains(&length)) {
        let _taking = take_body(context, length);
        let discard = async { while let Some(Ok(_)) = payload.next().await {} };
        let _ = timeout(DISCARD_TIMEOUT, discard).await;
    }
}

async fn collect(mut payload: Payload, at_most: usize) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::Malformed("The body is incomplete".to_owned()))?;
        if body.len() + chunk.len() > at_most {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn take_body(context: &RequestContext, length: Option<usize>) -> Option<TakingBody> {
    let connection = context.connection()?;
    Some(connection.intake.take_body(length))
}

/// The length that the request announces; `None` for a chunked body.
fn content_length(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether the body would have to be decoded first, from gzip for example.
fn is_coded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING);
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}
