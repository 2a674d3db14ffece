//! How long and how often a link works.

use std::time::Duration;

/// How long and how often a link works; without limits by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It stops working this long after it was made, by the store's clock; whole seconds.
    pub expires_in: Option<Duration>,
    /// It stops working after this many visits.
    pub max_visits: Option<u32>,
}

impl Terms {
    /// Whether the link works forever.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}
