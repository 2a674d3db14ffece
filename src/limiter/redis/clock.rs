//! Redis's clock as this process knows it, and the log time that follows from it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use super::timeline::{Mark, Own, SILENCE, STEP_MICROS, Timeline, settle};
use crate::limiter::{LogTime, boot_clock::BootClock};

/// How many samples are remembered, one a second. Older ones are forgotten, so that the slow drift between the clocks
/// of two machines (some 50 µs a second at worst) never adds up.
const SAMPLES: usize = 8;

/// How much two correct samples may differ beyond their round trips: the drift over `SAMPLES` seconds.
const DRIFT_MICROS: i64 = 500;

/// How old the last measurement may be, µs. There is one a second. After a longer pause, this machine may have stood
/// still, and Redis's clock may have been stepped.
const MAX_AGE_MICROS: i64 = SILENCE;

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
    /// When the timeline was last settled, by the boot clock.
    settled_at: AtomicI64,
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
    pub(super) fn new(boot: BootClock) -> Self {
        Self {
            boot,
            log_offset: AtomicI64::new(0),
            settled_at: AtomicI64::new(i64::MIN),
            state: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> LogTime {
        LogTime::from_micros(self.log_time(self.boot.micros()))
    }

    /// The log time, or `None` if the last measurement is too old to go by.
    ///
    /// A machine that was suspended counts the time that it missed by its boot clock. A virtual machine that its host
    /// has stopped may not: then nothing here shows that time has passed, and its log times are late until its next
    /// measurement, a second later at most.
    pub(super) fn fresh_now(&self) -> Option<LogTime> {
        self.fresh_at(self.boot.micros())
    }

    fn fresh_at(&self, at: i64) -> Option<LogTime> {
        let age = at.saturating_sub(self.settled_at.load(Ordering::Acquire));
        (age <= MAX_AGE_MICROS).then(|| LogTime::from_micros(self.log_time(at)))
    }

    /// How long the fastest of the last round trips took, µs.
    pub(super) fn round_trip(&self) -> i64 {
        self.state().round_trip()
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
        self.settled_at.store(at, Ordering::Release);
    }

    /// Whether this node knows Redis's time.
    pub(super) fn is_settled(&self) -> bool {
        self.state().settled.is_some()
    }

    /// Whether other nodes may still confirm `mark` although it seems old. Redis's clock may just have been set
    /// forward, which other nodes notice at their next measurement. Only a node that has not settled yet cannot tell.
    pub(super) fn awaits(&self, mark: Option<Mark>) -> bool {
        let state = self.state();
        let redis_now = self.boot.micros() + state.redis_offset;
        state.settled.is_none()
            && mark.is_some_and(|mark| mark.is_possible(redis_now) && mark.is_silent(redis_now))
    }

    /// Log time less the boot clock, µs.
    pub(super) fn log_offset(&self) -> i64 {
        self.log_offset.load(Ordering::Relaxed)
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
mod tests;
