//! What every request can reach.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Cors, HttpMetrics, RateLimit, TrustedProxies};
use crate::{
    links::{Links, Schemes},
    public::PublicUrl,
};

/// What every request on the public listener can reach.
pub struct AppState {
    /// The links.
    pub links: Arc<Links>,
    /// The schemes of URLs that may be shortened.
    pub schemes: Schemes,
    /// The limit, if there is one.
    pub rate_limit: Option<RateLimit>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Which pages of other sites may shorten, if any.
    pub cors: Option<Cors>,
    /// What short links begin with, unless it follows from the request.
    pub public_url: Option<PublicUrl>,
    /// Where the listener really is.
    pub local_addr: SocketAddr,
    /// How long a request's body may take to arrive.
    pub request_timeout: Duration,
    /// What is counted.
    pub metrics: HttpMetrics,
    /// Whether the node is about to stop.
    pub draining: Draining,
}

/// Set once, when the node is about to stop.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on `/readyz` says 503, and every answer closes its connection.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
