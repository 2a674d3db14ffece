//! Redis's clock, as this process knows it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime},
};

use crate::limiter::LogTime;

/// Samples remembered, one a second: old enough ones are forgotten, so that the slow drift between two
/// machines' clocks (some 50 µs a second at worst) never adds up.
const SAMPLES: usize = 8;

/// What two honest samples may differ by beyond their round trips: drift over `SAMPLES` seconds.
const DRIFT_MICROS: i64 = 500;

/// Redis's clock: an offset, carried forward by this machine's monotonic clock.
///
/// The machine's wall clock plays no part, so it may be wrong or be stepped. The offset comes from
/// `TIME`: Redis read its clock somewhere within the round trip, so the midpoint is wrong by at most half
/// of that, and of the recent samples the one with the smallest round trip is kept (Cristian's
/// algorithm). A sample that contradicts it (their error intervals do not meet) means that Redis's
/// clock was stepped, that another server answers now, or that this machine slept: then the new one counts.
#[derive(Debug)]
pub(super) struct RedisClock {
    origin: Instant,
    offset_micros: AtomicI64,
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: i64,
    round_trip: i64,
}

impl RedisClock {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            offset_micros: AtomicI64::new(0),
            samples: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> LogTime {
        LogTime::from_micros(self.monotonic() + self.offset_micros.load(Ordering::Relaxed))
    }

    /// The monotonic time to hand to [`finish_sample`](Self::finish_sample).
    pub(super) fn start_sample(&self) -> i64 {
        self.monotonic()
    }

    /// Takes in that Redis's clock said `redis_micros` between `sent` and now.
    pub(super) fn finish_sample(&self, sent: i64, redis_micros: i64) {
        self.add_sample(sent, self.monotonic(), redis_micros);
    }

    fn add_sample(&self, sent: i64, received: i64, redis_micros: i64) {
        let round_trip = received - sent;
        let sample = Sample {
            offset: redis_micros - (sent + round_trip / 2),
            round_trip,
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let contradicted = best(&samples).is_some_and(|best| {
            let apart = (best.offset - sample.offset).abs();
            apart > (best.round_trip + sample.round_trip) / 2 + DRIFT_MICROS
        });
        if contradicted {
            samples.clear();
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
        if let Some(best) = best(&samples) {
            self.offset_micros.store(best.offset, Ordering::Relaxed);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock is what is compared"
    )]
    pub(super) fn wall_clock_ahead_seconds(&self) -> f64 {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        wall - self.now().as_micros() as f64 / 1e6
    }

    fn monotonic(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

fn best(samples: &VecDeque<Sample>) -> Option<Sample> {
    samples
        .iter()
        .copied()
        .min_by_key(|sample| sample.round_trip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_800_000_000_000_000;

    fn offset(clock: &RedisClock) -> i64 {
        clock.offset_micros.load(Ordering::Relaxed)
    }

    #[test]
    fn the_sample_with_the_smallest_round_trip_counts() {
        let clock = RedisClock::new();
        clock.add_sample(0, 10_000, EPOCH + 1_000); // answered early in a slow round trip
        assert_eq!(offset(&clock), EPOCH - 4_000);
        clock.add_sample(20_000, 20_100, EPOCH + 20_050);
        assert_eq!(offset(&clock), EPOCH);
        clock.add_sample(30_000, 38_000, EPOCH + 31_000);
        assert_eq!(offset(&clock), EPOCH, "a slower one changes nothing");
    }

    #[test]
    fn a_stepped_clock_is_followed_at_once() {
        let clock = RedisClock::new();
        clock.add_sample(0, 100, EPOCH + 50);
        clock.add_sample(1_000_000, 1_005_000, EPOCH + 1_000_000 - 5_000_000);
        assert_eq!(offset(&clock), EPOCH - 5_000_000 - 2_500);
    }

    #[test]
    fn old_samples_are_forgotten() {
        let clock = RedisClock::new();
        clock.add_sample(0, 10, EPOCH + 5);
        for second in 1..=SAMPLES as i64 {
            let sent = second * 1_000_000;
            clock.add_sample(sent, sent + 100, EPOCH + sent + 50 + second * 50);
        }
        assert!(offset(&clock) > EPOCH, "the drift since was taken in");
    }
}
