//! How values are written: durations, lists, and anything that parses from a string.

use std::{fmt::Display, marker::PhantomData, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{self, SeqAccess, Visitor},
};

/// For `#[serde(with)]`: a type that is written as a string and parses back.
pub(super) mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

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
        text.trim().parse().map_err(de::Error::custom)
    }
}

/// For `#[serde(with)]`: `100ms`, `5s`, `1m 30s`.
pub(super) mod duration {
    use std::time::Duration;

    use super::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(text.trim()).map_err(|error| {
            de::Error::custom(format!(
                "`{text}` is not a duration like `100ms` or `5s`: {error}"
            ))
        })
    }
}

/// For `#[serde(deserialize_with)]`: a list, or a string with commas (all that an environment variable or a
/// flag can hold). An empty string is an empty list.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    struct List<T>(PhantomData<T>);

    fn item<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
        text.trim()
            .parse()
            .map_err(|error| E::custom(format!("`{}`: {error}", text.trim())))
    }

    impl<'de, T: FromStr<Err: Display>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list, or a string with commas")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.split(',')
                .filter(|part| !part.trim().is_empty())
                .map(item)
                .collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = items.next_element::<String>()? {
                list.push(item(&text)?);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(List(PhantomData))
}

/// For `#[serde(deserialize_with)]`: networks, or single addresses without a prefix length.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = list(deserializer)?;
    Ok(networks.into_iter().map(|Network(net)| net).collect())
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

/// For `#[serde(serialize_with)]`: a list of things that print.
pub(super) fn print_list<T: Display, S: Serializer>(
    list: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

/// Refuses a value outside of a range, in words that fit behind the key.
pub(super) fn within<T: PartialOrd + Copy, E: de::Error>(
    value: T,
    least: T,
    most: T,
    range: &str,
) -> Result<T, E> {
    if value < least || value > most {
        return Err(E::custom(format!("out of range: {range}")));
    }
    Ok(value)
}

/// Defines a module for `#[serde(with)]`: a duration within bounds.
macro_rules! bounded_duration {
    ($name:ident, $least:expr, $most:expr, $range:literal) => {
        mod $name {
            use std::time::Duration;

            pub(super) use crate::config::value::duration::serialize;

            pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Duration, D::Error> {
                let value = crate::config::value::duration::deserialize(deserializer)?;
                crate::config::value::within(value, $least, $most, $range)
            }
        }
    };
}
pub(super) use bounded_duration;

/// Defines a function for `#[serde(deserialize_with)]`: a whole number within bounds.
macro_rules! bounded_number {
    ($name:ident, $type:ty, $least:literal, $most:literal) => {
        fn $name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            let value = <$type as serde::Deserialize>::deserialize(deserializer)?;
            crate::config::value::within(value, $least, $most, concat!($least, " to ", $most))
        }
    };
}
pub(super) use bounded_number;
