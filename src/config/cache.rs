//! `[cache]`: what a node remembers of links.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{bounded_duration, bounded_number};

/// What a node remembers of links.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct CacheConfig {
    /// The most links that are remembered, 0 (none: every redirect asks the database) to 10,000,000. One whose URL
    /// is longer than 256 bytes counts as several. Default 100000: 25 to 50 MB if all are in use.
    #[serde(deserialize_with = "capacity")]
    pub capacity: usize,
    /// After this time a link is looked up again even if nobody said that it changed; 1 second to 1 day.
    /// Default `60s`.
    #[serde(with = "ttl")]
    pub ttl: Duration,
    /// How long an unknown code is taken to be unknown, at most: a link that is made meanwhile on another node
    /// may not be found; 0 to 1 minute. Default `250ms`.
    #[serde(with = "miss_ttl")]
    pub miss_ttl: Duration,
}

bounded_number!(capacity, usize, 0, 10_000_000);
bounded_duration!(
    ttl,
    Duration::from_secs(1),
    Duration::from_secs(86_400),
    "1s to 1day"
);
bounded_duration!(
    miss_ttl,
    Duration::ZERO,
    Duration::from_secs(60),
    "0s to 1m"
);

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            ttl: Duration::from_secs(60),
            miss_ttl: Duration::from_millis(250),
        }
    }
}
