//! What every request can reach.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Cors, HttpMetrics, KeyLookUps, Places, RateLimit, TrustedProxies};
use crate::{
    keys::Keys,
    links::{Links, Schemes, TargetUrl},
    public::PublicUrl,
};

/// What every request on the public listener can reach.
pub struct AppState {
    /// The links.
    pub links: Arc<Links>,
    /// The API keys.
    pub keys: Arc<Keys>,
    /// The look-ups of keys that are under way.
    pub key_look_ups: Arc<KeyLookUps>,
    /// Whether links can be made without a key.
    pub anonymous: bool,
    /// The schemes of URLs that may be shortened.
    pub schemes: Schemes,
    /// Where `/` leads, in place of the page.
    pub home_url: Option<TargetUrl>,
    /// Where a code leads that no link has.
    pub not_found_url: Option<TargetUrl>,
    /// The limit, if there is one.
    pub rate_limit: Option<RateLimit>,
    /// The proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Which pages of other sites may shorten, if any.
    pub cors: Option<Cors>,
    /// What short links begin with. If it is not set, it follows from the request.
    pub public_url: Option<PublicUrl>,
    /// The address that the listener has.
    pub local_addr: SocketAddr,
    /// The places of requests of which the node works on only a few at once.
    pub places: Places,
    /// The longest time for a request's body to arrive.
    pub request_timeout: Duration,
    /// The longest time that the database has for one transaction.
    pub database_timeout: Duration,
    /// How long requests under way may take to finish when the node stops.
    pub shutdown_timeout: Duration,
    /// The metrics of the public listener.
    pub metrics: HttpMetrics,
    /// Whether the node is about to stop.
    pub draining: Draining,
}

/// Set once, when the node is about to stop.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<Begun>);

#[derive(Debug, Default)]
struct Begun {
    /// All that most requests ask for.
    has_begun: AtomicBool,
    at: OnceLock<Instant>,
}

impl Draining {
    /// From now on `/readyz` says 503, and every answer closes its connection.
    pub fn begin(&self) {
        self.0.at.get_or_init(Instant::now);
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }

    /// When it has begun.
    pub fn since(&self) -> Option<Instant> {
        self.0.at.get().copied()
    }
}
