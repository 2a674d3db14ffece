//! Addresses whose attempts to use a key are refused.
//!
//! The limiter logs refused requests, too: a client that keeps hammering stays refused. For attempts that would be
//! wrong. A program with a valid key that a node does not know, because the node was restarted, tries again and again,
//! and would never get in. So once an attempt of an address was refused, its further attempts are not logged until the
//! limiter would admit one again.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::limiter::ClientId;

/// The most addresses that are remembered. The attempts of one that is forgotten are logged again.
const CAPACITY: usize = 10_000;

/// Until when the attempts of addresses are refused.
pub(super) struct Refused(Cache<ClientId, Instant>);

impl Default for Refused {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl Refused {
    /// For how much longer the attempts of this client are refused; `None` if the limiter has to be asked.
    pub(super) fn left(&self, client: ClientId) -> Option<Duration> {
        let until = self.0.get(&client)?;
        let left = until.checked_duration_since(Instant::now());
        left.filter(|left| !left.is_zero())
    }

    /// The limiter has refused an attempt of this client, and admits none for `left`.
    pub(super) fn note(&self, client: ClientId, left: Duration) {
        if let Some(until) = Instant::now().checked_add(left) {
            self.0.insert(client, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_for_as_long_as_the_limiter_has_said() {
        let refused = Refused::default();
        let [one, other] = [1, 2].map(|last| ClientId::new([192, 0, 2, last].into(), 64));
        assert_eq!(refused.left(one), None);
        refused.note(one, Duration::from_secs(60));
        let left = refused.left(one).expect("it is refused");
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30));
        assert_eq!(refused.left(other), None);
        refused.note(one, Duration::ZERO);
        assert_eq!(refused.left(one), None, "its time is over");
    }
}
