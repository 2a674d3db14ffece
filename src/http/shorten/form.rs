//! The body of `POST /shorten`: a form or JSON.

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

use crate::{
    http::{
        edge::{RequestContext, read_body},
        problem::ApiError,
    },
    links::Terms,
};

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The longest life of a link: ten years.
const MAX_EXPIRES_IN: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What `POST /shorten` asks for. The terms are checked; the URL and the alias are not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShortenForm {
    pub(super) url: String,
    pub(super) alias: Option<String>,
    pub(super) terms: Terms,
}

/// Declares the fields of a body, each with the function that reads its value.
macro_rules! fields {
    ($($name:ident: $read:ident),*) => {
        /// The fields as they come, in a form or in JSON, each at most once.
        #[derive(Debug, Default)]
        struct Fields {
            $($name: Option<String>),*
        }

        impl Fields {
            /// Takes in members one by one, and stops at the first that is wrong.
            fn read(members: impl IntoIterator<Item = Member>) -> Result<Self, ApiError> {
                let mut fields = Self::default();
                for (name, value) in members {
                    let (field, value) = match name.as_str() {
                        $(stringify!($name) => (&mut fields.$name, $read(&name, value)?),)*
                        _ => return Err(malformed(format!("Unknown field `{}`", shortened(&name)))),
                    };
                    if let Some(value) = value
                        && field.replace(value).is_some()
                    {
                        return Err(malformed(format!("The field `{name}` is repeated")));
                    }
                }
                Ok(fields)
            }
        }
    };
}

fields!(url: text, alias: text, expires_in: number, max_visits: number);

/// A name and a value of a form or a JSON object.
type Member = (String, Value);

/// The members of a JSON object, in their order, with those that are repeated.
struct Members(Vec<Member>);

#[derive(Clone, Copy, Debug)]
enum MediaType {
    Form,
    Json,
}

impl ShortenForm {
    /// Reads and parses the body: at most 32 KiB, within `within`.
    pub(super) async fn read(
        context: &RequestContext,
        payload: Payload,
        within: Duration,
    ) -> Result<Self, ApiError> {
        let media_type = MediaType::of(context.headers())?;
        let body = read_body(context, payload, within).await?;
        let fields = match media_type {
            MediaType::Form => Fields::read(parse_form(&body)?)?,
            MediaType::Json => Fields::read(parse_json(&body)?)?,
        };
        fields.check()
    }
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
            "application/json" => Ok(Self::Json),
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

/// The value of a field that is a text. `null` is the same as no field.
fn text(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(malformed(format!("The field `{name}` must be a string"))),
    }
}

/// The value of a field that is a number, or a number as a text.
fn number(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Number(number) => Ok(Some(number.to_string())),
        value => {
            text(name, value).map_err(|_| malformed(format!("The field `{name}` must be a number")))
        }
    }
}

impl Fields {
    fn check(self) -> Result<ShortenForm, ApiError> {
        // Browsers send the fields that their user left empty.
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let url = given(self.url).ok_or_else(|| malformed("The field `url` is missing"))?;
        let expires_in = given(self.expires_in).map(|text| expires_in(&text));
        let max_visits = given(self.max_visits).map(|text| max_visits(&text));
        Ok(ShortenForm {
            url,
            alias: given(self.alias),
            terms: Terms {
                expires_in: expires_in.transpose()?,
                max_visits: max_visits.transpose()?,
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

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::Malformed(message.into())
}

/// The part of the client's own text that a message repeats.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &[u8]) -> Result<ShortenForm, ApiError> {
        Fields::read(parse_form(body)?)?.check()
    }

    fn json(body: &str) -> Result<ShortenForm, ApiError> {
        Fields::read(parse_json(body.as_bytes())?)?.check()
    }

    /// A body of 16,000 wrong members must not cost more than one of one.
    #[test]
    fn reading_ends_at_the_first_member_that_is_wrong() {
        let wrong = ("colour".to_owned(), Value::Null);
        let others = std::iter::from_fn(|| panic!("this one is not read"));
        let read = Fields::read(std::iter::once(wrong).chain(others));
        assert!(matches!(read, Err(ApiError::Malformed(_))));
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
