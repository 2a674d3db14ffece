//! The body of `POST /shorten`: a form or JSON.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpRequest,
    http::header,
    web::{Bytes, BytesMut, Payload},
};
use futures_util::StreamExt;
use percent_encoding::percent_decode;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    http::{net::Intake, problem::ApiError},
    links::Terms,
};

/// The largest body: the longest target with each of its bytes percent-encoded, and the other fields.
pub(in crate::http) const MAX_BODY: usize = 32 * 1024;

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The longest a link may be made to live: ten years.
const MAX_EXPIRES_IN: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What `POST /shorten` is asked for; nothing but the form of it is checked.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct ShortenForm {
    pub(in crate::http) url: String,
    pub(in crate::http) alias: Option<String>,
    pub(in crate::http) terms: Terms,
}

/// The fields as they come, each at most once.
#[derive(Debug, Default)]
struct Fields {
    url: Option<String>,
    alias: Option<String>,
    expires_in: Option<String>,
    max_visits: Option<String>,
}

/// The members of a JSON object, in their order, repeated ones included.
struct Members(Vec<(String, Value)>);

#[derive(Clone, Copy, Debug)]
enum MediaType {
    Form,
    Json,
}

impl ShortenForm {
    /// Reads and parses the body: at most 32 KiB, within `within`.
    pub(in crate::http) async fn read(
        request: &HttpRequest,
        payload: Payload,
        within: Duration,
    ) -> Result<Self, ApiError> {
        let media_type = MediaType::of(request)?;
        if is_coded(request) {
            return Err(ApiError::UnsupportedCoding);
        }
        let body = match timeout(within, read_body(request, payload)).await {
            Ok(body) => body?,
            Err(_) => return Err(ApiError::TooSlow),
        };
        let fields = match media_type {
            MediaType::Form => parse_form(&body)?,
            MediaType::Json => parse_json(&body)?,
        };
        fields.into_form()
    }
}

impl MediaType {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut lines = request.headers().get_all(header::CONTENT_TYPE);
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
            "application/json" => Ok(Self::Json),
            _ => Err(ApiError::UnsupportedMediaType),
        }
    }
}

/// Whether the body would have to be decoded first, from gzip for example.
fn is_coded(request: &HttpRequest) -> bool {
    let lines = request.headers().get_all(header::CONTENT_ENCODING);
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

async fn read_body(request: &HttpRequest, mut payload: Payload) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(ApiError::TooLarge);
    }
    let _taking = Intake::take_body(request);
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

/// Strict where `form_urlencoded` is lenient: invalid UTF-8 is an error here, not a replacement character in
/// somebody's link.
fn parse_form(body: &[u8]) -> Result<Fields, ApiError> {
    let mut fields = Fields::default();
    for pair in body.split(|&byte| byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&pair[..equals], &pair[equals + 1..]),
            None => (pair, &[] as &[u8]),
        };
        let name = decode(name)?;
        let value = decode(value)?;
        if fields.named(&name)?.replace(value).is_some() {
            return Err(repeated(&name));
        }
    }
    Ok(fields)
}

fn decode(text: &[u8]) -> Result<String, ApiError> {
    let spaced: Cow<'_, [u8]> = if text.contains(&b'+') {
        let spaces = text
            .iter()
            .map(|&byte| if byte == b'+' { b' ' } else { byte });
        Cow::Owned(spaces.collect())
    } else {
        Cow::Borrowed(text)
    };
    percent_decode(&spaced)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| malformed("The body is not valid UTF-8"))
}

/// A number may also be written as a string. `null` is the same as left out.
fn parse_json(body: &[u8]) -> Result<Fields, ApiError> {
    // Windows programs like to begin a file with it.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(malformed("The body is not a JSON object"));
    }
    // What the parser says of it is for programmers.
    let Members(members) =
        serde_json::from_slice(body).map_err(|_| malformed("The body is not valid JSON"))?;
    let mut fields = Fields::default();
    for (name, value) in members {
        let field = fields.named(&name)?;
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) if Fields::is_number(&name) => number.to_string(),
            _ if Fields::is_number(&name) => {
                return Err(malformed(format!("The field `{name}` must be a number")));
            }
            _ => return Err(malformed(format!("The field `{name}` must be a string"))),
        };
        if field.replace(value).is_some() {
            return Err(repeated(&name));
        }
    }
    Ok(fields)
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

impl Fields {
    fn named(&mut self, name: &str) -> Result<&mut Option<String>, ApiError> {
        match name {
            "url" => Ok(&mut self.url),
            "alias" => Ok(&mut self.alias),
            "expires_in" => Ok(&mut self.expires_in),
            "max_visits" => Ok(&mut self.max_visits),
            _ => Err(malformed(format!("Unknown field `{}`", shortened(name)))),
        }
    }

    fn is_number(name: &str) -> bool {
        matches!(name, "expires_in" | "max_visits")
    }

    fn into_form(self) -> Result<ShortenForm, ApiError> {
        // A form sends the fields that were left empty, too.
        let given = |text: &String| !text.trim().is_empty();
        Ok(ShortenForm {
            url: self
                .url
                .filter(given)
                .ok_or_else(|| malformed("The field `url` is missing"))?,
            alias: self.alias.filter(given),
            terms: Terms {
                expires_in: self
                    .expires_in
                    .filter(given)
                    .map(|text| expires_in(&text))
                    .transpose()?,
                max_visits: self
                    .max_visits
                    .filter(given)
                    .map(|text| max_visits(&text))
                    .transpose()?,
            },
        })
    }
}

/// Seconds, or a duration like `7d`.
fn expires_in(text: &str) -> Result<Duration, ApiError> {
    let duration = match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    duration
        .filter(|duration| (Duration::from_secs(1)..=MAX_EXPIRES_IN).contains(duration))
        .ok_or_else(|| {
            ApiError::Unacceptable(
                "`expires_in` is seconds or a duration like 7d, from 1 second to 10 years"
                    .to_owned(),
            )
        })
}

fn max_visits(text: &str) -> Result<u32, ApiError> {
    let visits = text.trim().parse().ok();
    visits
        .filter(|visits| (1..=1_000_000_000).contains(visits))
        .ok_or_else(|| {
            ApiError::Unacceptable("`max_visits` is a number from 1 to 1000000000".to_owned())
        })
}

fn repeated(name: &str) -> ApiError {
    malformed(format!("The field `{name}` is repeated"))
}

fn malformed(text: impl Into<String>) -> ApiError {
    ApiError::Malformed(text.into())
}

/// What of the caller's own text is repeated to it.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &[u8]) -> Result<ShortenForm, ApiError> {
        parse_form(body)?.into_form()
    }

    fn json(body: &str) -> Result<ShortenForm, ApiError> {
        parse_json(body.as_bytes())?.into_form()
    }

    #[test]
    fn both_forms_say_the_same() {
        let expected = ShortenForm {
            url: "https://example.com/?a=b&c=d e".to_owned(),
            alias: Some("mine".to_owned()),
            terms: Terms {
                expires_in: Some(Duration::from_secs(7 * 86_400)),
                max_visits: Some(3),
            },
        };
        let body =
            b"url=https%3A%2F%2Fexample.com/?a=b%26c=d+e&alias=mine&expires_in=7d&max_visits=3";
        assert_eq!(form(body).expect("a form"), expected);
        let body = r#"{"url": "https://example.com/?a=b&c=d e", "alias": "mine",
                       "expires_in": 604800, "max_visits": "3"}"#;
        assert_eq!(json(body).expect("an object"), expected);
    }

    #[test]
    fn empty_optional_fields_are_left_out() {
        let form =
            form(b"url=https://example.com/&alias=&expires_in=+&max_visits=").expect("a form");
        assert_eq!((form.alias, form.terms), (None, Terms::default()));
    }

    #[test]
    fn what_cannot_be_understood_is_malformed() {
        let deep = format!("{{\"url\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let deep_unknown = format!("{{\"x\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"https://example.com/\"",
            "[\"https://example.com/\"]",
            "{\"url\": 5}",
            "{\"url\": null}",
            "{\"url\": {}}",
            "{\"url\": \"\"}",
            "{\"url\": \"a\"",
            "{\"url\": \"a\", \"url\": \"b\"}",
            "{\"url\": \"a\", \"x\": 1}",
            "{\"url\": \"a\"} x",
            "{\"url\": \"a\", \"max_visits\": []}",
            "{\"url\": \"\\ud800\"}",
            &deep,
            &deep_unknown,
        ] {
            let result = json(body);
            assert!(
                matches!(result, Err(ApiError::Malformed(_))),
                "{body:.60} gave {result:?}"
            );
        }
        for body in [
            &b""[..],
            b"url",
            b"url=",
            b"url=+",
            b"other=1",
            b"url=a&url=b",
            b"url=a&x=1",
            b"url=%ff",
            b"url=\xff",
            b"%ff=a",
            b"url=a&url",
        ] {
            let result = form(body);
            assert!(
                matches!(result, Err(ApiError::Malformed(_))),
                "{body:?} gave {result:?}"
            );
        }
    }

    #[test]
    fn impossible_terms_are_unacceptable() {
        for field in [
            "expires_in=0",
            "expires_in=-1",
            "expires_in=11y",
            "expires_in=soon",
            "max_visits=0",
            "max_visits=x",
            "max_visits=4294967296",
            "expires_in=99999999999999999999",
        ] {
            let result = form(format!("url=a&{field}").as_bytes());
            assert!(
                matches!(result, Err(ApiError::Unacceptable(_))),
                "{field} gave {result:?}"
            );
        }
    }
}
