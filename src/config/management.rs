//! `[management]`: the listener for probes and metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{ListenAddress, value::optional};

/// The listener for probes and metrics. It has no limit and no authentication: never make it public.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct ManagementConfig {
    /// Address and port of `/livez`, `/readyz` and `/metrics`. Empty: off. Default `127.0.0.1:9180`.
    #[serde(with = "optional")]
    pub bind: Option<ListenAddress>,
}

impl Default for ManagementConfig {
    fn default() -> Self {
        Self {
            bind: Some(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 9180)))),
        }
    }
}
