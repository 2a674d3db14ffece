//! A body becomes a list of members.

use std::{fmt, time::Duration};

use actix_web::{
    dev::Payload,
    http::header::{self, HeaderMap},
};
use percent_encoding::percent_decode;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use url::form_urlencoded;

use super::malformed;
use crate::http::{
    edge::{RequestContext, read_body},
    problem::ApiError,
};

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A name and a value of a form or a JSON object.
pub(in crate::http) type Member = (String, Value);

/// The members of a JSON object, in their order, with those that are repeated.
struct Members(Vec<Member>);

#[derive(Clone, Copy, Debug)]
enum MediaType {
    Form,
    Json,
}

/// Reads a body of at most 32 KiB, a form or JSON, within `within`. Hands its members to `take`, which stops at the
/// first that is wrong.
pub(in crate::http) async fn read_members<T>(
    context: &RequestContext,
    payload: Payload,
    within: Duration,
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let media_type = MediaType::of(context.headers())?;
    let body = read_body(context, payload, within).await?;
    match media_type {
        MediaType::Form => take(&mut parse_form(&body)?),
        MediaType::Json => take(&mut parse_json(&body)?.into_iter()),
    }
}

/// As [`read_members`], for a JSON object only: with no other body can something be `null`.
pub(in crate::http) async fn read_json_members<T>(
    context: &RequestContext,
    payload: Payload,
    within: Duration,
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    match MediaType::of(context.headers())? {
        MediaType::Json => {}
        MediaType::Form => return Err(ApiError::NotJson),
    }
    let body = read_body(context, payload, within).await?;
    take(&mut parse_json(&body)?.into_iter())
}

impl MediaType {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut lines = headers.get_all(header::CONTENT_TYPE);
        let (Some(content_type), None) = (lines.next(), lines.next()) else {
            return Err(ApiError::UnsupportedMediaType);
        };
        let media_type: mime::Mime = content_type
            .to_str()
            .ok()
            .and_then(|value| value.parse().ok())
            .ok_or(ApiError::UnsupportedMediaType)?;
        match media_type.essence_str() {
            "application/x-www-form-urlencoded" => Ok(Self::Form),
            // The second is RFC 7396: `null` removes.
            "application/json" | "application/merge-patch+json" => Ok(Self::Json),
            _ => Err(ApiError::UnsupportedMediaType),
        }
    }
}

fn parse_form(body: &[u8]) -> Result<impl Iterator<Item = Member>, ApiError> {
    // The parser would put replacement characters into the link.
    if percent_decode(body).decode_utf8().is_err() {
        return Err(malformed("The body is not valid UTF-8"));
    }
    let members = form_urlencoded::parse(body);
    Ok(members.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))))
}

fn parse_json(body: &[u8]) -> Result<Vec<Member>, ApiError> {
    // Some Windows programs begin a file with it.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(malformed("The body is not a JSON object"));
    }
    // The parser's own message is for programmers.
    let Members(members) =
        serde_json::from_slice(body).map_err(|_| malformed("The body is not valid JSON"))?;
    Ok(members)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// As [`read_members`], for the text of a form. For unit tests.
#[cfg(test)]
pub(in crate::http) fn form_members<T>(
    body: &[u8],
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    take(&mut parse_form(body)?)
}

/// As [`read_members`], for the text of a JSON object. For unit tests.
#[cfg(test)]
pub(in crate::http) fn json_members<T>(
    body: &str,
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    take(&mut parse_json(body.as_bytes())?.into_iter())
}
