//! `[management]`: the listener for probes and metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The listener for probes and metrics. It has no limit and no authentication: never make it public.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct ManagementConfig {
    /// Address and port for `/livez`, `/readyz` and `/metrics`; empty: off. Default `127.0.0.1:9180`.
    #[serde(with = "optional_address")]
    pub bind: Option<SocketAddr>,
}

impl Default for ManagementConfig {
    fn default() -> Self {
        Self {
            bind: Some(SocketAddr::from(([127, 0, 0, 1], 9180))),
        }
    }
}

mod optional_address {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&value.map_or_else(String::new, |address| address.to_string()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        match String::deserialize(deserializer)?.trim() {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| de::Error::custom(format!("`{text}` is not an address and port"))),
        }
    }
}
