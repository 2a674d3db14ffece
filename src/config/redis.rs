//! `[redis]`: where requests are counted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    secret::{SecretUrl, check_credentials, unknown_parameters},
    value::{optional, text},
};
use crate::limiter::{InvalidRedisUrl, KeyPrefix, RedisEndpoint};

/// Where requests are counted.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`, `redis+unix://`, `redis+sentinel://host:port,host:port/master` or
    /// `redis+cluster://host:port,host:port`. With TLS: `rediss://`, `rediss+sentinel://`, `rediss+cluster://`.
    /// Also `REDIS_URL`. Unset by default: each node counts for itself.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional")]
    pub url: Option<RedisUrl>,
    /// What every key of this service begins with, so that several services can use one Redis. All nodes of a service
    /// have the same prefix: 1 to 64 printable ASCII characters without quotes and `*?[]\{}`. Default `rate_limit:`.
    #[serde(with = "text")]
    pub prefix: KeyPrefix,
}

/// A Redis URL.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    shown: SecretUrl,
    /// The server, the Sentinels or the cluster that the URL names.
    pub endpoint: RedisEndpoint,
}

impl RedisUrl {
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

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_credentials(text)?;
        Ok(Self {
            endpoint: text
                .parse()
                .map_err(|error: InvalidRedisUrl| error.to_string())?,
            shown: SecretUrl::new(text),
        })
    }
}

/// The URL without its password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}
