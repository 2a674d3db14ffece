//! `[http]`: the public listener.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::{bounded_duration, bounded_number, list, networks, print_list, text};
use crate::{
    public::{ClientIpHeader, CorsOrigin, PublicUrl},
    scheduling::Scheduling,
};

/// The public listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct HttpConfig {
    /// Address and port to listen on. Default `127.0.0.1:8080`.
    #[serde(with = "text")]
    pub bind: SocketAddr,
    /// What short links begin with, such as `https://sho.rt`. Unset by default: the scheme and host that
    /// the request came to.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub public_url: Option<PublicUrl>,
    /// Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. None by default.
    #[serde(deserialize_with = "networks", serialize_with = "print_list")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name the client in place of `X-Forwarded-For`: `Forwarded`, or one that holds a single
    /// address, such as `CF-Connecting-IP` or `X-Real-IP`. Unset by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub client_ip_header: Option<ClientIpHeader>,
    /// Origins such as `https://app.example` whose pages may shorten links and read the answers, or `*` for all. None
    /// by default.
    #[serde(deserialize_with = "list", serialize_with = "print_list")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Worker threads, 1 to 512. Default: the number of cores.
    #[serde(deserialize_with = "workers")]
    pub workers: usize,
    /// The most connections at once, 16 to 1,000,000; further ones wait until one of them ends. Default 10000.
    #[serde(deserialize_with = "max_connections")]
    pub max_connections: usize,
    /// How the kernel schedules these and all other threads: `batch`, or `normal`, which lets them take the processor
    /// from other programs the moment that they wake up. Default `batch`.
    #[serde(with = "text")]
    pub scheduling: Scheduling,
    /// How long the listener stays open after a stop signal, while `/readyz` already says 503, so that load
    /// balancers can turn away; up to 10 minutes. Default `5s`.
    #[serde(with = "drain")]
    pub drain: Duration,
    /// How long requests that are under way may take to finish after that; 1 second to 10 minutes.
    /// Default `30s`.
    #[serde(with = "shutdown_timeout")]
    pub shutdown_timeout: Duration,
    /// How long a client may take from the first byte of a request to the last, and to take answers that it has left
    /// lying until the kernel's buffers were full; 100 ms to 10 minutes. Default `10s`.
    #[serde(with = "request_timeout")]
    pub request_timeout: Duration,
    /// How long an idle connection is kept open for another request; 1 second to 1 hour. Default `75s`,
    /// longer than nginx keeps its own (60 s), so that nginx never sends into a closing connection.
    #[serde(with = "keep_alive")]
    pub keep_alive: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const TEN_MINUTES: Duration = Duration::from_secs(600);
bounded_duration!(drain, Duration::ZERO, super::TEN_MINUTES, "0s to 10m");
bounded_duration!(
    shutdown_timeout,
    super::SECOND,
    super::TEN_MINUTES,
    "1s to 10m"
);
bounded_duration!(
    request_timeout,
    Duration::from_millis(100),
    super::TEN_MINUTES,
    "100ms to 10m"
);
bounded_duration!(
    keep_alive,
    super::SECOND,
    Duration::from_secs(3600),
    "1s to 1h"
);
bounded_number!(workers, usize, 1, 512);
bounded_number!(max_connections, usize, 16, 1_000_000);

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: Vec::new(),
            client_ip_header: None,
            cors_origins: Vec::new(),
            workers: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(512)),
            max_connections: 10_000,
            scheduling: Scheduling::default(),
            drain: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
        }
    }
}

/// An empty string is the same as unset, so that a variable can undo what a file says.
mod optional_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&value.as_ref().map_or_else(String::new, ToString::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        match String::deserialize(deserializer)?.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(de::Error::custom),
        }
    }
}
