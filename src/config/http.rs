//! `[http]`: the public listener.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ListenAddress,
    value::{
        HOUR, MINUTE, SECOND, choice, duration, list, networks, number, optional, print_duration,
        print_list, text,
    },
};
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
    pub bind: ListenAddress,
    /// What short links begin with, such as `https://sho.rt`. Unset by default: the scheme and host that the request
    /// came to.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional")]
    pub public_url: Option<PublicUrl>,
    /// The networks of trusted proxies. A node believes `X-Forwarded-For` and `X-Forwarded-Proto` only from these. None
    /// by default.
    #[serde(deserialize_with = "networks", serialize_with = "print_list")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which trusted proxies name the client, in place of `X-Forwarded-For`: `Forwarded`, or a header
    /// that holds one address, such as `CF-Connecting-IP` or `X-Real-IP`. Unset by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional")]
    pub client_ip_header: Option<ClientIpHeader>,
    /// Origins such as `https://app.example` whose pages may shorten links and read the answers, or `*` for all. None
    /// by default.
    #[serde(deserialize_with = "list", serialize_with = "print_list")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Worker threads, 1 to 512. Default: the number of cores.
    #[serde(deserialize_with = "number::<1, 512, _, _>")]
    pub workers: usize,
    /// The most connections at once, 16 to 1,000,000. Further connections wait until one ends. Default 10000.
    #[serde(deserialize_with = "number::<16, 1_000_000, _, _>")]
    pub max_connections: usize,
    /// How the kernel schedules all threads of the program. `normal`: as it was started. `batch`: a thread that wakes
    /// up lets the running thread finish its turn, for a machine that everything runs on. Default `normal`.
    #[serde(deserialize_with = "choice")]
    pub scheduling: Scheduling,
    /// How long the listener stays open after a stop signal, up to 10 minutes. In this time `/readyz` answers 503, so
    /// that load balancers turn away. Default `5s`.
    #[serde(
        deserialize_with = "duration::<0, { 10 * MINUTE }, _>",
        serialize_with = "print_duration"
    )]
    pub drain: Duration,
    /// How long the requests under way may take to finish after that; 1 second to 10 minutes. Default `30s`.
    #[serde(
        deserialize_with = "duration::<SECOND, { 10 * MINUTE }, _>",
        serialize_with = "print_duration"
    )]
    pub shutdown_timeout: Duration,
    /// How long a client may take from the first byte of a request to the last; 100 ms to 10 minutes. Also how long it
    /// may leave answers unread after the kernel's buffers are full. Default `10s`.
    #[serde(
        deserialize_with = "duration::<100, { 10 * MINUTE }, _>",
        serialize_with = "print_duration"
    )]
    pub request_timeout: Duration,
    /// How long an idle connection stays open for another request; 1 second to 1 hour. Default `75s`: longer than nginx
    /// keeps its own (60 s), so that nginx never sends into a connection that closes.
    #[serde(
        deserialize_with = "duration::<SECOND, HOUR, _>",
        serialize_with = "print_duration"
    )]
    pub keep_alive: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            bind: ListenAddress(SocketAddr::from(([127, 0, 0, 1], 8080))),
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
