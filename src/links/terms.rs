//! When and how often a link works.

use std::time::{Duration, SystemTime};

/// When and how often a link works; without limits by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It works from then on, by the store's clock.
    pub starts_at: Option<SystemTime>,
    /// It stops working then.
    pub expiry: Option<Expiry>,
    /// It stops working after this many visits.
    pub max_visits: Option<u32>,
}

/// When a link stops working, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This long after it was made or changed.
    In(Duration),
    /// At this time.
    At(SystemTime),
}

impl Terms {
    /// Whether the link works from now on and forever.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

impl Expiry {
    /// The duration in seconds, or the time in Unix seconds, for a statement that takes both.
    pub(super) fn as_seconds(expiry: Option<Self>) -> (Option<f64>, Option<f64>) {
        match expiry {
            None => (None, None),
            Some(Self::In(duration)) => (Some(duration.as_secs_f64()), None),
            Some(Self::At(time)) => (None, Some(unix_seconds(time))),
        }
    }
}

/// The time in Unix seconds; negative before 1970.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
