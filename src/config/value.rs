//! How values are written: durations, numbers, lists, choices, and anything that parses from a string.
//!
//! A file has numbers, booleans and lists. The environment and flags have only text, so text is allowed for each of
//! these. White space around text does not matter.

use std::{
    fmt::Display, net::IpAddr, num::NonZeroU32, ops::RangeInclusive, str::FromStr, time::Duration,
};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, IntoDeserializer},
};
use toml::Value;

/// In milliseconds, for the bounds of [`duration`].
pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// For `#[serde(with)]`: a type that is written as a string.
pub(super) mod text {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    pub(in crate::config) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::config) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.trim().parse().map_err(D::Error::custom)
    }
}

/// For `#[serde(with)]`: a type that is written as a string, or nothing. An empty string means nothing, so that a
/// variable can undo what a file says.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    pub(in crate::config) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }

    pub(in crate::config) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        match String::deserialize(deserializer)?.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(D::Error::custom),
        }
    }
}

/// For `#[serde(deserialize_with)]`: an enum, by the name of one of its variants.
pub(super) fn choice<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let name = String::deserialize(deserializer)?;
    T::deserialize(name.trim().into_deserializer())
}

/// For `#[serde(deserialize_with)]`: a duration such as `100ms`, `5s` or `1m 30s`, within bounds in milliseconds.
pub(super) fn duration<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The parser's error would show a part of the text.
    let value = humantime::parse_duration(text.trim())
        .map_err(|_| D::Error::custom("not a duration like `100ms` or `5s`"))?;
    let bounds = [LEAST, MOST].map(Duration::from_millis);
    let [least, most] = bounds.map(humantime::format_duration);
    within(value, bounds[0]..=bounds[1], (least, most))
}

/// For `#[serde(serialize_with)]`: a duration.
pub(super) fn print_duration<S: Serializer>(
    value: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

/// For `#[serde(deserialize_with)]`: a whole number within bounds.
pub(super) fn number<'de, const LEAST: i64, const MOST: i64, T, D>(
    deserializer: D,
) -> Result<T, D::Error>
where
    T: TryFrom<i64, Error: Display>,
    D: Deserializer<'de>,
{
    whole(&Value::deserialize(deserializer)?, LEAST..=MOST)
}

/// For `#[serde(deserialize_with)]`: how many there are, 1 to a bound, or nothing. An empty string means nothing, as for
/// [`optional`].
pub(super) fn optional_count<'de, const MOST: i64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroU32>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if text.trim().is_empty() => Ok(None),
        value => whole(&value, 1..=MOST).map(NonZeroU32::new),
    }
}

fn whole<T: TryFrom<i64, Error: Display>, E: Error>(
    value: &Value,
    range: RangeInclusive<i64>,
) -> Result<T, E> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| E::custom("expected a whole number"))?;
    let bounds = (*range.start(), *range.end());
    within(number, range, bounds)?.try_into().map_err(E::custom)
}

/// For `#[serde(deserialize_with)]`: `true` or `false`. As text, these have other usual names.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let flag = match &value {
        Value::Boolean(flag) => Some(*flag),
        Value::String(text) => match &*text.trim().to_ascii_lowercase() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    };
    flag.ok_or_else(|| D::Error::custom("expected `true` or `false`"))
}

/// For `#[serde(deserialize_with)]`: a list of strings, or one string with commas. An empty string is an empty list.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    let items: Option<Vec<&str>> = match &value {
        Value::String(text) => Some(
            text.split(',')
                .filter(|item| !item.trim().is_empty())
                .collect(),
        ),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let items = items
        .ok_or_else(|| D::Error::custom("expected a list of strings, or a string with commas"))?;
    let parse = |(number, item): (usize, &str)| {
        let item = item.trim().parse();
        item.map_err(|error| D::Error::custom(format!("item {number}: {error}")))
    };
    (1..).zip(items).map(parse).collect()
}

/// For `#[serde(serialize_with)]`: a list.
pub(super) fn print_list<T: Display, S: Serializer>(
    list: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

/// For `#[serde(deserialize_with)]`: a list of networks. A single address is a network of its own.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = list(deserializer)?;
    Ok(networks
        .into_iter()
        .map(|Network(network)| network)
        .collect())
}

struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .or_else(|_| text.parse().map(|address: IpAddr| address.into()))
            .map(Self)
            .map_err(|_| "not an address or a network like 10.0.0.0/8")
    }
}

/// `bounds` is the range as the error message prints it.
fn within<T: PartialOrd, B: Display, E: Error>(
    value: T,
    range: RangeInclusive<T>,
    bounds: (B, B),
) -> Result<T, E> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(E::custom(format!(
            "out of range: {} to {}",
            bounds.0, bounds.1
        )))
    }
}
