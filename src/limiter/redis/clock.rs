//! Redis's clock as this process knows it, and the log time that follows from it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use super::timeline::{Mark, Own, STEP_MICROS, Timeline, settle};
use crate::limiter::{LogTime, boot_clock::BootClock};

/// How many samples are remembered, one a second. Older ones are forgotten, so that the slow drift between the clocks
/// of two machines (some 50 µs a second at worst) never adds up.
const SAMPLES: usize = 8;

/// How much two correct samples may differ beyond their round trips: the drift over `SAMPLES` seconds.
const DRIFT_MICROS: i64 = 500;

/// A clock is slewed by at most one part in this many of the time that passes: 500 ppm.
const SLEW: i64 = 2_000;

/// Redis's clock: an offset to this machine's boot clock.
///
/// The machine's wall clock plays no part, so it may be wrong or be stepped. The offset comes from `TIME`. Redis read
/// its clock at some moment within the round trip, so the midpoint is wrong by at most half of the round trip. Of the
/// recent samples, the one with the smallest round trip counts (Cristian's algorithm). If a new sample contradicts it
/// (their error intervals do not meet), Redis's clock was stepped, another server answers now, or this machine stood
/// still: then only the new sample counts.
///
/// Log times are Redis's time on a [`Timeline`], which has no steps. If a sample is further off than any clock drifts,
/// log times go on as before until it is [settled](Self::settle) what the sample means.
#[derive(Debug)]
pub(super) struct RedisClock {
    boot: BootClock,
    /// Log time less the boot clock. A request needs nothing else.
    log_offset: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    samples: VecDeque<Sample>,
    /// Redis's time less the boot clock.
    redis_offset: i64,
    /// What was known when the timeline was last settled.
    settled: Option<Settled>,
    timeline: Timeline,
    step: Option<ClockStep>,
}

#[derive(Clone, Copy, Debug)]
struct Settled {
    at: i64,
    redis_offset: i64,
    round_trip: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: i64,
    round_trip: i64,
}

/// A step of Redis's clock, and what it did to the log times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// How far Redis's clock has moved against this machine's, µs. Negative if it was set back.
    pub redis_micros: i64,
    /// How far this node's log times have moved with it, µs: hardly at all, unless this node follows the others.
    pub log_micros: i64,
}

impl RedisClock {
    pub(super) fn new() -> Self {
        Self {
            boot: BootClock::new(),
            log_offset: AtomicI64::new(0),
            state: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> LogTime {
        LogTime::from_micros(self.log_time(self.boot.micros()))
    }

    /// The boot clock's time to hand to [`finish_sample`](Self::finish_sample).
    pub(super) fn start_sample(&self) -> i64 {
        self.boot.micros()
    }

    /// Notes that Redis's clock said `redis_micros` between `sent` and now. Returns whether this fits what was known.
    /// If it does not, take more samples, which make the new offset more exact, and then settle the timeline.
    pub(super) fn finish_sample(&self, sent: i64, redis_micros: i64) -> bool {
        self.add_sample(sent, self.boot.micros(), redis_micros)
    }

    fn add_sample(&self, sent: i64, received: i64, redis_micros: i64) -> bool {
        let round_trip = received - sent;
        let sample = Sample {
            offset: redis_micros - (sent + round_trip / 2),
            round_trip,
        };
        let mut state = self.state();
        let samples = &mut state.samples;
        let contradicted = best(samples).is_some_and(|best| {
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
        if let Some(best) = best(samples) {
            state.redis_offset = best.offset;
        }
        let log_offset = state.timeline.at(state.redis_offset);
        let moved = log_offset.saturating_sub(self.log_offset.load(Ordering::Relaxed));
        let fits = state.settled.is_some() && moved.abs() <= state.tolerance(received);
        if fits {
            self.log_offset.store(log_offset, Ordering::Relaxed);
        }
        fits
    }

    /// Chooses the timeline. `mark` is what Redis holds of it. Must be called after every sample.
    pub(super) fn settle(&self, mark: Option<Mark>) {
        self.settle_at(self.boot.micros(), mark);
    }

    fn settle_at(&self, at: i64, mark: Option<Mark>) {
        let mut state = self.state();
        let redis_now = at + state.redis_offset;
        let mark = mark.filter(|mark| mark.is_possible(redis_now));
        let own = state.settled.map(|_| Own {
            timeline: state.timeline,
            now: self.log_time(at),
            tolerance: state.tolerance(at),
        });
        let timeline = settle(redis_now, own, mark);
        let step = match (own, mark) {
            (Some(own), _) => Some(ClockStep {
                redis_micros: state.redis_offset
                    - state.settled.map_or(0, |settled| settled.redis_offset),
                log_micros: timeline.at(redis_now).saturating_sub(own.now),
            }),
            // Redis's clock was set back while no node ran.
            (None, Some(mark)) => Some(ClockStep {
                redis_micros: mark
                    .timeline
                    .correction()
                    .saturating_sub(timeline.correction())
                    .min(0),
                log_micros: 0,
            }),
            (None, None) => None,
        };
        let tolerance = state.tolerance(at);
        let is_step =
            |step: &ClockStep| step.redis_micros.abs().max(step.log_micros.abs()) > tolerance;
        if let Some(step) = step.filter(is_step) {
            state.step = Some(step);
        }
        state.timeline = timeline;
        state.settled = Some(Settled {
            at,
            redis_offset: state.redis_offset,
            round_trip: state.round_trip(),
        });
        let log_offset = timeline.at(state.redis_offset);
        self.log_offset.store(log_offset, Ordering::Relaxed);
    }

    /// Whether other nodes may still confirm `mark` although it seems old. Redis's clock may just have been set
    /// forward, which other nodes notice at their next measurement. Only a node that has not settled yet cannot tell.
    pub(super) fn awaits(&self, mark: Option<Mark>) -> bool {
        let state = self.state();
        let redis_now = self.boot.micros() + state.redis_offset;
        state.settled.is_none()
            && mark.is_some_and(|mark| mark.is_possible(redis_now) && mark.is_silent(redis_now))
    }

    /// What other nodes have to know. Valid once the timeline is [settled](Self::settle).
    pub(super) fn mark(&self) -> Mark {
        Mark {
            timeline: self.state().timeline,
            latest: self.now().as_micros(),
        }
    }

    /// The last step that was noticed since the last call.
    pub(super) fn take_step(&self) -> Option<ClockStep> {
        self.state().step.take()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock is what is compared"
    )]
    pub(super) fn wall_clock_ahead_seconds(&self) -> f64 {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let redis = self.boot.micros() + self.state().redis_offset;
        wall - redis as f64 / 1e6
    }

    fn log_time(&self, at: i64) -> i64 {
        at.saturating_add(self.log_offset.load(Ordering::Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Twice the error of [`redis_offset`](Self::redis_offset).
    fn round_trip(&self) -> i64 {
        best(&self.samples).map_or(0, |best| best.round_trip)
    }

    /// The largest difference at `at`, µs, that errors of measurement and drift explain. A larger one is a step.
    fn tolerance(&self, at: i64) -> i64 {
        let settled = self.settled.map_or(0, |settled| {
            settled.round_trip / 2 + (at - settled.at) / SLEW
        });
        STEP_MICROS + settled + self.round_trip() / 2
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
    const SECOND: i64 = 1_000_000;

    fn offset(clock: &RedisClock) -> i64 {
        clock.state().redis_offset
    }

    fn log_offset(clock: &RedisClock) -> i64 {
        clock.log_offset.load(Ordering::Relaxed)
    }

    /// A clock that has measured Redis's clock once. Redis's clock said `EPOCH` when the boot clock began.
    fn settled() -> RedisClock {
        let clock = RedisClock::new();
        assert!(!clock.add_sample(0, 100, EPOCH + 50), "nothing was known");
        clock.settle_at(100, None);
        assert_eq!((offset(&clock), log_offset(&clock)), (EPOCH, EPOCH));
        clock
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
    fn small_corrections_are_followed_at_once() {
        let clock = settled();
        assert!(clock.add_sample(SECOND, SECOND + 100, EPOCH + SECOND + 3_000));
        assert_eq!(log_offset(&clock), offset(&clock));
        assert_eq!(log_offset(&clock), EPOCH + 2_950);
        clock.settle_at(SECOND + 200, None);
        assert_eq!(clock.take_step(), None);
    }

    #[test]
    fn the_clock_is_followed_where_it_is_stepped_to_and_log_times_go_on() {
        let clock = settled();
        let stepped = EPOCH + SECOND - 5 * SECOND;
        assert!(!clock.add_sample(SECOND, SECOND + 5_000, stepped));
        assert_eq!(offset(&clock), EPOCH - 5 * SECOND - 2_500);
        assert_eq!(log_offset(&clock), EPOCH, "until it is settled");
        clock.settle_at(SECOND + 5_000, None);
        assert_eq!(log_offset(&clock), EPOCH, "and after that");
        let step = ClockStep {
            redis_micros: -5 * SECOND - 2_500,
            log_micros: 0,
        };
        assert_eq!(clock.take_step(), Some(step));
        assert_eq!(clock.take_step(), None, "once");

        // The next sample is more exact.
        let next = EPOCH + 2 * SECOND - 5 * SECOND;
        assert!(clock.add_sample(2 * SECOND, 2 * SECOND + 100, next));
        assert!((log_offset(&clock) - EPOCH).abs() <= 2_600);
        clock.settle_at(2 * SECOND + 100, Some(clock.mark()));
        assert_eq!(clock.take_step(), None);
    }

    #[test]
    fn a_step_that_could_not_be_settled_yet_changes_nothing() {
        let clock = settled();
        for second in 1..=3 {
            let sent = second * SECOND;
            assert!(!clock.add_sample(sent, sent + 100, EPOCH + sent + 50 - 3_600 * SECOND));
            assert_eq!(log_offset(&clock), EPOCH);
        }
        clock.settle_at(4 * SECOND, None);
        assert_eq!(log_offset(&clock), EPOCH);
    }

    #[test]
    fn a_node_that_stood_still_says_how_far_it_has_moved() {
        let clock = settled();
        let paused = 60 * SECOND;
        clock.add_sample(SECOND, SECOND + 100, EPOCH + SECOND + 50 + paused);
        let others = Mark {
            timeline: Timeline::default(),
            latest: EPOCH + paused + SECOND / 2,
        };
        clock.settle_at(SECOND + 100, Some(others));
        assert_eq!(log_offset(&clock), EPOCH + paused);
        let step = ClockStep {
            redis_micros: paused,
            log_micros: paused,
        };
        assert_eq!(clock.take_step(), Some(step));
    }

    #[test]
    fn a_step_that_no_node_has_seen_is_told_by_the_mark() {
        let clock = RedisClock::new();
        clock.add_sample(0, 100, EPOCH + 50);
        let hour = 3_600 * SECOND;
        let before = Mark {
            timeline: Timeline::default(),
            latest: EPOCH + 100 + hour,
        };
        clock.settle_at(100, Some(before));
        assert_eq!(log_offset(&clock), EPOCH + hour);
        let step = ClockStep {
            redis_micros: -hour,
            log_micros: 0,
        };
        assert_eq!(clock.take_step(), Some(step));
    }

    #[test]
    fn old_samples_are_forgotten() {
        let clock = RedisClock::new();
        clock.add_sample(0, 10, EPOCH + 5);
        for second in 1..=SAMPLES as i64 {
            let sent = second * SECOND;
            clock.add_sample(sent, sent + 100, EPOCH + sent + 50 + second * 50);
        }
        assert!(offset(&clock) > EPOCH, "the drift since was taken in");
    }
}
