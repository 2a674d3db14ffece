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
use crate::http::{net::TakingBody, problem::ApiError};

/// The largest body, in bytes: the longest target with each of its bytes percent-encoded, and the other fields.
const MAX_BODY: usize = 32 * 1024;

/// How long the body of a refused request may take to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The body, of at most 32 KiB, if it arrives within `within` and needs no decoding.
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
        return Err(ApiError::UnsupportedCoding);
    }
    let length = content_length(context.headers());
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(ApiError::TooLarge);
    }
    let _taking = take_body(context, length);
    match timeout(within, collect(payload)).await {
        Ok(body) => body,
        Err(_) => Err(ApiError::TooSlow),
    }
}

/// Reads the body of a refused request and throws it away. actix-web closes a connection whose request was not read to
/// its end. A client that is over its quota (or nginx in front of many) would then open a new connection after every
/// refusal.
pub(in crate::http) async fn discard_body(context: &RequestContext, mut payload: Payload) {
    let length = content_length(context.headers());
    if length.is_some_and(|length| (1..=MAX_BODY).contains(&length)) {
        let _taking = take_body(context, length);
        let discard = async { while let Some(Ok(_)) = payload.next().await {} };
        let _ = timeout(DISCARD_TIMEOUT, discard).await;
    }
}

async fn collect(mut payload: Payload) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::Malformed("The body is incomplete".to_owned()))?;
        if body.len() + chunk.len() > MAX_BODY {
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
