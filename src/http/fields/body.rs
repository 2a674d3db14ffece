//! A body becomes a list of members.

use std::{fmt, time::Duration};

use actix_web::{
    dev::Payload,
    http::header::{self, HeaderMap},
    web::Bytes,
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
    edge::{RequestContext, discard_body, read_body},
    problem::ApiError,
};

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A name and a value of a form or a JSON object.
pub(in crate::http) type Member = (String, Value);

/// The members of a JSON object, in their order, with those that are repeated.
struct Members(Vec<Member>);

/// What a body is.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum MediaType {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
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
    let body = read_json(context, payload, within).await?;
    take(&mut parse_json(&body)?.into_iter())
}

/// Reads a JSON body as it is, within `within`.
pub(in crate::http) async fn read_json(
    context: &RequestContext,
    payload: Payload,
    within: Duration,
) -> Result<Bytes, ApiError> {
    match MediaType::of(context.headers()) {
        Ok(MediaType::Json) => read_body(context, payload, within).await,
        Ok(MediaType::Form) | Err(_) => {
            discard_body(context, payload).await;
            Err(ApiError::NotJson)
        }
    }
}

/// Hands the parameters of the query to `take`, as [`read_members`] does with those of a form.
pub(in crate::http) fn read_query<T>(
    context: &RequestContext,
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let query = context.query().as_bytes();
    if percent_decode(query).decode_utf8().is_err() {
        return Err(malformed("The query is not valid UTF-8"));
    }
    take(&mut pairs(query))
}

impl MediaType {
    /// What the request says of its body.
    ///
    /// # Errors
    /// [`ApiError::UnsupportedMediaType`]
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
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
    Ok(pairs(body))
}

fn pairs(text: &[u8]) -> impl Iterator<Item = Member> {
    let pairs = form_urlencoded::parse(text);
    pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
}

/// A JSON text without the byte order mark that some Windows programs begin a file with.
pub(in crate::http) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

fn parse_json(body: &[u8]) -> Result<Vec<Member>, ApiError> {
    let body = without_mark(body);
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

/// As [`read_members`], for the text of a JSON object.
pub(in crate::http) fn json_members<T>(
    text: &str,
    take: impl FnOnce(&mut dyn Iterator<Item = Member>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    take(&mut parse_json(text.as_bytes())?.into_iter())
}
