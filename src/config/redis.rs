//! `[redis]`: where the window logs are kept.

use serde::{Deserialize, Serialize};

use super::{
    secret::{SecretUrl, check_credentials, unknown_parameters},
    value::text,
};
use crate::limiter::{KeyPrefix, RedisEndpoint};

/// Where the window logs are kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `redis+unix://`,
    /// `redis+sentinel://host:port,host:port/master` or `redis+cluster://host:port,host:port`.
    /// Also `REDIS_URL`. Unset by default: each node counts for itself.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_endpoint")]
    pub url: Option<Redis>,
    /// What every key of this service begins with, so that several can share a Redis. All nodes of a service have the same.
    /// 1 to 64 printable ASCII characters without quotes and `*?[]\{}`. Default `rate_limit:`.
    #[serde(with = "text")]
    pub prefix: KeyPrefix,
}

/// A Redis URL.
#[derive(Clone, Debug)]
pub struct Redis {
    shown: SecretUrl,
    /// What it names.
    pub endpoint: RedisEndpoint,
}

impl Redis {
    /// The parameters of the URL that have no effect.
    pub(super) fn ignored_parameters(&self) -> Vec<String> {
        let url = self.shown.secret();
        let socket = url.starts_with("redis+unix:");
        unknown_parameters(url, |name| match name {
            "protocol" => true,
            "db" | "user" | "pass" => socket,
            _ => false,
        })
    }
}

/// An empty string is the same as unset, so that a variable can undo what a file says.
mod optional_endpoint {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{Redis, SecretUrl, check_credentials};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Redis>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(redis) => serializer.collect_str(&redis.shown),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Redis>, D::Error> {
        match String::deserialize(deserializer)?.trim() {
            "" => Ok(None),
            text => {
                check_credentials(text).map_err(de::Error::custom)?;
                Ok(Some(Redis {
                    endpoint: text.parse().map_err(de::Error::custom)?,
                    shown: SecretUrl::new(text),
                }))
            }
        }
    }
}
