//! What the values of fields may be. Every error names the field.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    http::problem::ApiError,
    links::{CodeLength, Expiry, Note, Password, Redirect, Schemes, Tags, TargetUrl, Title},
};

/// The longest life of a link, and the latest start: ten years from now.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The node's own time.
#[allow(
    clippy::disallowed_methods,
    reason = "refuses times that must be a mistake; when a link works, the store's clock decides"
)]
pub(in crate::http) fn now() -> SystemTime {
    SystemTime::now()
}

pub(in crate::http) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::Malformed(message.into())
}

/// A field whose value can be read, but is not acceptable.
pub(in crate::http) fn unacceptable(name: &str, why: impl fmt::Display) -> ApiError {
    ApiError::Unacceptable(format!("`{name}`: {why}"))
}

/// The part of the client's own text that a message repeats.
pub(in crate::http) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A field that its user left empty is sent by a browser all the same.
pub(in crate::http) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// The value of a field that is a text. `null` is the same as no field.
pub(in crate::http) fn text(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(malformed(format!("The field `{name}` must be a string"))),
    }
}

/// The value of a field that is a number, or a number as a text.
pub(in crate::http) fn number(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Number(number) => Ok(Some(number.to_string())),
        value => {
            text(name, value).map_err(|_| malformed(format!("The field `{name}` must be a number")))
        }
    }
}

/// The value of a field that is `true` or `false`, or one of these as a text.
pub(in crate::http) fn flag(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    let wrong = || malformed(format!("The field `{name}` must be true or false"));
    let text = match value {
        Value::Bool(flag) => return Ok(Some(flag.to_string())),
        value => text(name, value).map_err(|_| wrong())?,
    };
    match given(text).as_deref().map(str::trim) {
        None => Ok(None),
        // A browser sends `on` for a box that is ticked.
        Some("true" | "1" | "on") => Ok(Some("true".to_owned())),
        Some("false" | "0" | "off") => Ok(Some("false".to_owned())),
        Some(_) => Err(wrong()),
    }
}

/// The value of a field that is an array of texts, or texts with commas between them.
pub(in crate::http) fn list(name: &str, value: Value) -> Result<Option<String>, ApiError> {
    let wrong = || malformed(format!("The field `{name}` must be an array of strings"));
    let Value::Array(values) = value else {
        return text(name, value).map_err(|_| wrong());
    };
    let texts = values.into_iter().map(|value| match value {
        Value::String(text) if text.contains(',') => {
            Err(unacceptable(name, "an element contains a comma"))
        }
        // Between commas, nothing would be an element that is left out.
        Value::String(text) if text.trim().is_empty() => {
            Err(unacceptable(name, "an element is empty"))
        }
        Value::String(text) => Ok(text),
        _ => Err(wrong()),
    });
    let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
    Ok(Some(texts.join(",")))
}

/// Seconds, or a duration like `7d`.
pub(in crate::http) fn expires_in(text: &str) -> Result<Expiry, ApiError> {
    let duration = match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    duration
        .filter(|duration| (Duration::from_secs(1)..=LONGEST).contains(duration))
        .map(Expiry::In)
        .ok_or_else(|| {
            ApiError::Unacceptable(
                "`expires_in` is seconds or a duration like 7d, from 1 second to 10 years"
                    .to_owned(),
            )
        })
}

/// A time in the next ten years.
pub(in crate::http) fn expires_at(text: &str, now: SystemTime) -> Result<Expiry, ApiError> {
    let at = timestamp("expires_at", text)?;
    if at <= now {
        return Err(unacceptable("expires_at", "that time is in the past"));
    }
    not_too_late("expires_at", at, now).map(Expiry::At)
}

/// A time in the next ten years; nothing for a time in the past, because the link has started then.
pub(in crate::http) fn starts_at(
    text: &str,
    now: SystemTime,
) -> Result<Option<SystemTime>, ApiError> {
    let at = timestamp("starts_at", text)?;
    let at = not_too_late("starts_at", at, now)?;
    Ok((at > now).then_some(at))
}

fn not_too_late(name: &str, at: SystemTime, now: SystemTime) -> Result<SystemTime, ApiError> {
    if at > now + LONGEST {
        return Err(unacceptable(name, "that time is more than 10 years away"));
    }
    Ok(at)
}

/// A time as RFC 3339 writes it, with any offset.
pub(in crate::http) fn timestamp(name: &str, text: &str) -> Result<SystemTime, ApiError> {
    let mut text = text.trim().to_owned();
    // In a form, `+` stands for a space, and whoever writes `+02:00` into one by hand means a plus sign.
    if let Some(sign) = text.len().checked_sub("+02:00".len())
        && text.as_bytes()[sign] == b' '
        && text.contains('T')
    {
        text.replace_range(sign..=sign, "+");
    }
    OffsetDateTime::parse(&text, &Rfc3339)
        .map(SystemTime::from)
        .map_err(|_| unacceptable(name, "a time looks like 2030-12-31T18:00:00+01:00"))
}

pub(in crate::http) fn max_visits(text: &str) -> Result<u32, ApiError> {
    let visits = text.trim().parse().ok();
    visits
        .filter(|visits| (1..=1_000_000_000).contains(visits))
        .ok_or_else(|| {
            ApiError::Unacceptable("`max_visits` is a number from 1 to 1000000000".to_owned())
        })
}

pub(in crate::http) fn code_length(text: &str) -> Result<CodeLength, ApiError> {
    let length = text.trim().parse::<usize>().ok();
    length
        .and_then(|length| length.try_into().ok())
        .ok_or_else(|| ApiError::Unacceptable("`code_length` is a number from 4 to 32".to_owned()))
}

pub(in crate::http) fn redirect(text: &str) -> Result<Redirect, ApiError> {
    let status = text.trim().parse::<u16>().ok();
    status
        .and_then(|status| status.try_into().ok())
        .ok_or_else(|| ApiError::Unacceptable("`redirect` is 301, 302, 303, 307 or 308".to_owned()))
}

pub(in crate::http) fn fallback_url(text: &str, schemes: &Schemes) -> Result<TargetUrl, ApiError> {
    TargetUrl::parse(text, schemes).map_err(|error| unacceptable("fallback_url", error))
}

/// The message names the field, and repeats nothing of the password.
pub(in crate::http) fn password(text: &str) -> Result<Password, ApiError> {
    Password::parse(text).map_err(|error| unacceptable("password", error))
}

pub(in crate::http) fn title(text: &str) -> Result<Title, ApiError> {
    Title::parse(text).map_err(|error| unacceptable("title", error))
}

pub(in crate::http) fn note(text: &str) -> Result<Note, ApiError> {
    Note::parse(text).map_err(|error| unacceptable("note", error))
}

/// Tags with commas between them. What is empty between two commas is no tag.
pub(in crate::http) fn tags(text: &str) -> Result<Tags, ApiError> {
    let texts = text.split(',').filter(|text| !text.trim().is_empty());
    Tags::parse(texts).map_err(|error| unacceptable("tags", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
    }

    fn seconds(time: SystemTime) -> u64 {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    }

    #[test]
    fn a_time_has_any_offset_and_is_the_same_in_utc() {
        for text in [
            "2030-12-31T17:00:00Z",
            "2030-12-31T18:00:00+01:00",
            // As a form brings it whose writer has not encoded the plus sign.
            "2030-12-31T18:00:00 01:00",
            " 2030-12-31T10:30:00.25-06:30 ",
        ] {
            let expiry = expires_at(text, now());
            let Ok(Expiry::At(at)) = expiry else {
                panic!("{text}: {expiry:?}");
            };
            assert_eq!(seconds(at), 1_924_966_800, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_or_too_far_away_is_refused_by_name() {
        for text in [
            "",
            "tomorrow",
            "2030-12-31",
            "2030-12-31T18:00:00",
            "2030-12-31 18:00",
            "2030-02-30T18:00:00Z",
            "2030-12-31T25:00:00Z",
            "10000-01-01T00:00:00Z",
            "99999999999999999999",
            "2060-01-01T00:00:00Z",
            "ünïcödé T      ",
        ] {
            for refused in [
                expires_at(text, now()).map(drop),
                starts_at(text, now()).map(drop),
            ] {
                let message = refused.expect_err(text).to_string();
                assert!(message.contains("s_at`"), "{message}");
            }
        }
        expires_at("2020-01-01T00:00:00Z", now()).expect_err("the past");
        let started = starts_at("2020-01-01T00:00:00Z", now());
        assert_eq!(started.expect("a time"), None, "it has started");
    }

    #[test]
    fn flags_and_lists_are_read_from_forms_and_from_json() {
        for (value, expected) in [
            (Value::Bool(true), Some("true")),
            (Value::from("on"), Some("true")),
            (Value::from("0"), Some("false")),
            (Value::from(" "), None),
            (Value::Null, None),
        ] {
            let read = flag("enabled", value).expect("a flag");
            assert_eq!(read.as_deref(), expected);
        }
        for value in [Value::from("yes"), Value::from(1), Value::Array(vec![])] {
            flag("enabled", value).expect_err("no flag");
        }
        let read = list("tags", serde_json::json!(["a", "b c"])).expect("a list");
        assert_eq!(read.as_deref(), Some("a,b c"));
        for value in [
            serde_json::json!(["a,b"]),
            serde_json::json!([""]),
            serde_json::json!([1]),
            serde_json::json!({}),
        ] {
            let message = list("tags", value).expect_err("no list").to_string();
            assert!(message.contains("`tags`"), "{message}");
        }
    }
}
