//! `[cache]`: what a node remembers of links.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::value::{DAY, MINUTE, SECOND, duration, number, print_duration};

/// What a node remembers of links.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct CacheConfig {
    /// The most links that a node remembers, 0 to 10,000,000. A link whose URL is longer than 256 bytes counts as
    /// several. With 0, every redirect asks the database. Default 100000, which takes 25 to 50 MB when all are in use.
    #[serde(deserialize_with = "number::<0, 10_000_000, _, _>")]
    pub capacity: usize,
    /// After this time a node looks a link up again, even if it heard of no change; 1 second to 1 day. Default `1m`.
    #[serde(
        deserialize_with = "duration::<SECOND, DAY, _>",
        serialize_with = "print_duration"
    )]
    pub ttl: Duration,
    /// How long a node answers an unknown code without asking the database again; 0 to 1 minute. For that
    /// long, the node does not find a link that another node makes under a random code. Default `250ms`.
    #[serde(
        deserialize_with = "duration::<0, MINUTE, _>",
        serialize_with = "print_duration"
    )]
    pub miss_ttl: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            ttl: Duration::from_secs(60),
            miss_ttl: Duration::from_millis(250),
        }
    }
}
