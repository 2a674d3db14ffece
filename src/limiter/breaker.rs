//! The circuit breaker in front of Redis.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Open while Redis is away. While it is open, no request waits for Redis.
///
/// The state is one number, the generation, that only grows: even while the breaker is closed, odd while it is open. A
/// request remembers the generation in which it began, and can open the breaker only if the breaker is still in it. So
/// a slow failure from before a recovery cannot undo that recovery.
#[derive(Debug, Default)]
pub struct Breaker {
    generation: AtomicU64,
    opened: Notify,
}

impl Breaker {
    /// The generation to hand to [`trip`](Self::trip), or `None` while the breaker is open.
    pub fn closed_generation(&self) -> Option<u64> {
        let generation = self.generation.load(Ordering::Acquire);
        generation.is_multiple_of(2).then_some(generation)
    }

    /// Whether requests are kept from Redis at the moment.
    pub fn is_open(&self) -> bool {
        self.closed_generation().is_none()
    }

    /// Opens the breaker for a request that began in `generation`. Returns `true` to the one caller that opened it,
    /// which then logs the outage.
    pub fn trip(&self, generation: u64) -> bool {
        let opened = generation.is_multiple_of(2) && self.advance(generation);
        if opened {
            self.opened.notify_one();
        }
        opened
    }

    /// Closes the breaker. Returns whether it was open.
    pub fn close(&self) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        !generation.is_multiple_of(2) && self.advance(generation)
    }

    /// Moves on from `generation`. Returns `false` if another thread already has.
    fn advance(&self, generation: u64) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.generation
            .compare_exchange(generation, generation + 1, success, failure)
            .is_ok()
    }

    /// How often the breaker has opened since the start.
    pub fn times_opened(&self) -> u64 {
        self.generation.load(Ordering::Acquire).div_ceil(2)
    }

    /// Waits until the breaker opens. Returns at once if it has opened since the last call.
    pub async fn opened(&self) {
        self.opened.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_caller_opens_it_and_one_closes_it() {
        let breaker = Breaker::default();
        assert_eq!(breaker.times_opened(), 0);
        let seen = breaker.closed_generation().expect("closed at first");
        assert!(breaker.trip(seen));
        assert!(!breaker.trip(seen), "the second failure changes nothing");
        assert!(breaker.is_open());
        assert!(breaker.close());
        assert!(!breaker.close());
        assert!(!breaker.is_open());
        assert_eq!(breaker.times_opened(), 1);
    }

    #[tokio::test]
    async fn a_waiter_goes_on_when_it_opens_and_not_before() {
        let breaker = Breaker::default();
        let mut opened = Box::pin(breaker.opened());
        assert_eq!((&mut opened).now_or_never(), None);
        breaker.trip(breaker.closed_generation().expect("closed at first"));
        assert_eq!(opened.now_or_never(), Some(()));
    }

    #[test]
    fn a_failure_from_before_a_recovery_does_not_open_it_again() {
        let breaker = Breaker::default();
        let slow_request = breaker.closed_generation().expect("closed at first");
        breaker.trip(slow_request);
        breaker.close();
        assert!(!breaker.trip(slow_request));
        assert!(!breaker.is_open());
    }
}
