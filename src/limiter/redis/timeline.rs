//! The timeline of the window logs: Redis's clock without its steps.
//!
//! The times in the logs have to go on evenly. If Redis's clock is set back and log times followed, entries from before
//! would lie in the future, and count until the clock has caught up. If it is set forward, all entries would leave the
//! window at once, on each node at another moment. So a log time is Redis's time *and a correction*. Whenever the clock
//! is stepped, the correction changes so that the sum does not. Until the first step it is zero.
//!
//! All nodes must use the same correction, and a node that starts later must know it. It is kept in Redis, in one key,
//! the *mark*, together with a number that grows with every step, and the latest log time at which a node has confirmed
//! the mark. Every node does so once a second, right after it has measured Redis's clock. If its own time and the mark
//! disagree, [`settle`] decides what this means:
//!
//! | a node finds | because | the logs |
//! |---|---|---|
//! | its own time ahead of Redis's | Redis's clock was set back | go on |
//! | its own time behind, and the mark as old as it should be by its own time | Redis's clock was set forward | go on |
//! | its own time behind, and the mark as old as it should be by Redis's time | this machine stood still, others did not | are where Redis and the others are |
//! | no time of its own, and the mark ahead of Redis's time | Redis's clock was set back while no node ran | go on from the mark |
//!
//! The value of the mark is fixed: a node that finds anything else takes it for another program's, and nodes of two
//! releases use it at the same time during an upgrade. What else nodes have to tell each other is in their
//! [beats](super::attendance).
//!
//! A step forward that is smaller than [`SILENCE`] looks like a pause of this machine, and log times follow it. What
//! Redis itself forgets when its clock is set forward, because keys expire by it, is lost in any case.

use std::fmt;

/// The largest difference that is no step, µs. Entries that are so far ahead do no harm.
pub(super) const STEP_MICROS: i64 = 100_000;

/// A mark is never older than this while any node runs, µs. It is confirmed once a second.
pub(super) const SILENCE: i64 = 3_000_000;

/// A log time in a mark is below this (the year 2112). Redis's scores are f64, which hold whole microseconds up to
/// 2^53: this leaves room for the time that passes from then on.
const MAX_LATEST: i64 = 1 << 52;

/// No correction is larger, µs: 71 years, more than from a clock that begins in 1970 to today.
const MAX_CORRECTION: i64 = 1 << 51;

/// No timeline has seen more steps than this: one a second for a century.
const MAX_STEPS: u64 = 1 << 32;

/// What has to be added to Redis's time to get the log time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timeline {
    /// How many steps it has seen. Of two timelines, the one with more steps is valid.
    steps: u64,
    /// µs, added to Redis's time. Two nodes that notice a step at the same moment may disagree by their errors of
    /// measurement. Then the larger correction is valid.
    correction: i64,
}

/// What Redis holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) timeline: Timeline,
    /// The log time at which the mark was written, µs.
    pub(super) latest: i64,
}

/// What a node believes when it has just measured Redis's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) timeline: Timeline,
    /// Its log time, carried forward by its own clock only, µs.
    pub(super) now: i64,
    /// How far `now` may be off although no clock was stepped, µs.
    pub(super) tolerance: i64,
}

impl Timeline {
    /// The log time when Redis's clock says `redis_now`.
    pub(super) fn at(self, redis_now: i64) -> i64 {
        redis_now.saturating_add(self.correction)
    }

    pub(super) fn correction(self) -> i64 {
        self.correction
    }

    /// The timeline after a step: its log time is `now` when Redis's clock says `redis_now`. If no possible correction
    /// gives this, it is Redis's time itself.
    fn continued(self, now: i64, redis_now: i64) -> Self {
        let correction = now.saturating_sub(redis_now);
        Self {
            steps: (self.steps + 1).min(MAX_STEPS),
            correction: if is_correction(correction) {
                correction
            } else {
                0
            },
        }
    }
}

fn is_correction(micros: i64) -> bool {
    (-MAX_CORRECTION..=MAX_CORRECTION).contains(&micros)
}

/// The timeline that is valid when Redis's clock says `redis_now`.
pub(super) fn settle(redis_now: i64, own: Option<Own>, mark: Option<Mark>) -> Timeline {
    let timelines = [own.map(|own| own.timeline), mark.map(|mark| mark.timeline)];
    let known = timelines.into_iter().flatten().max().unwrap_or_default();
    let proposed = known.at(redis_now);
    let latest = mark.map(|mark| mark.latest);
    // Whether the mark is as old as it should be at `now`.
    let confirms = |now: i64| {
        let age = latest.map(|latest| now.saturating_sub(latest));
        age.is_some_and(|age| (-STEP_MICROS..=SILENCE).contains(&age))
    };
    let Some(own) = own else {
        return match latest {
            Some(latest) if proposed < latest.saturating_sub(STEP_MICROS) => {
                known.continued(latest, redis_now)
            }
            _ => known,
        };
    };
    let ahead = own.now.saturating_sub(proposed);
    let set_back = ahead > own.tolerance && (confirms(own.now) || !confirms(proposed));
    let set_forward = ahead < -own.tolerance && confirms(own.now) && !confirms(proposed);
    if set_back || set_forward {
        known.continued(own.now, redis_now)
    } else {
        known
    }
}

/// `steps correction latest`: the value of the key.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timeline { steps, correction } = self.timeline;
        write!(f, "{steps} {correction} {}", self.latest)
    }
}

impl Mark {
    /// Reads what [`Display`](fmt::Display) writes. `None` for anything else.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let timeline = Timeline {
            steps: words.next()?.parse().ok()?,
            correction: words.next()?.parse().ok()?,
        };
        let latest = words.next()?.parse().ok()?;
        let mark = Self { timeline, latest };
        words.next().is_none().then_some(mark)
    }

    /// Whether a node can have written it, now that Redis's clock says `redis_now`. Any other mark has to be ignored
    /// and replaced.
    pub(super) fn is_possible(&self, redis_now: i64) -> bool {
        let times = [self.latest, self.timeline.at(redis_now)];
        times.iter().all(|time| (0..MAX_LATEST).contains(time))
            && is_correction(self.timeline.correction)
            && self.timeline.steps <= MAX_STEPS
    }

    /// Whether it is too old for one that a running node has confirmed by the clock that says `redis_now`.
    pub(super) fn is_silent(&self, redis_now: i64) -> bool {
        self.timeline.at(redis_now).saturating_sub(self.latest) > SILENCE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;

    /// A node that has measured Redis's clock well.
    fn own(timeline: Timeline, now: i64) -> Option<Own> {
        Some(Own {
            timeline,
            now,
            tolerance: STEP_MICROS,
        })
    }

    fn mark(timeline: Timeline, latest: i64) -> Option<Mark> {
        Some(Mark { timeline, latest })
    }

    const ZERO: Timeline = Timeline {
        steps: 0,
        correction: 0,
    };

    #[test]
    fn without_a_step_log_time_is_redis_time() {
        assert_eq!(settle(NOW, None, None), ZERO);
        assert_eq!(settle(NOW, own(ZERO, NOW), None), ZERO);
        assert_eq!(
            settle(NOW, own(ZERO, NOW + 50_000), mark(ZERO, NOW - SECOND)),
            ZERO
        );
        assert_eq!(settle(NOW, None, mark(ZERO, NOW - 100 * HOUR)), ZERO);
    }

    #[test]
    fn a_running_node_goes_on_when_the_clock_is_set_back_or_forward() {
        for step in [-HOUR, -5 * SECOND, -SECOND / 2, 5 * SECOND, HOUR] {
            let timeline = settle(NOW + step, own(ZERO, NOW), mark(ZERO, NOW - SECOND));
            assert_eq!(timeline.steps, 1, "{step}");
            assert_eq!(timeline.at(NOW + step), NOW, "{step}");
        }
    }

    #[test]
    fn a_node_that_notices_second_takes_what_the_first_has_found() {
        let first = ZERO.continued(NOW + 1_234, NOW - HOUR);
        let second = settle(NOW - HOUR, own(ZERO, NOW), mark(first, NOW));
        assert_eq!(second, first);
    }

    #[test]
    fn two_that_notice_at_once_agree_at_the_next_measurement() {
        let one = settle(NOW - HOUR, own(ZERO, NOW + 700), mark(ZERO, NOW - SECOND));
        let other = settle(NOW - HOUR, own(ZERO, NOW - 300), mark(ZERO, NOW - SECOND));
        assert_ne!(one, other);
        let later = NOW + SECOND;
        let agreed = [(one, other), (other, one)].map(|(own_one, in_redis)| {
            settle(
                later - HOUR,
                own(own_one, later),
                mark(in_redis, later - 10_000),
            )
        });
        assert_eq!(agreed, [one, one]);
    }

    #[test]
    fn a_machine_that_stood_still_follows_the_others() {
        for pause in [SECOND, 10 * SECOND, HOUR] {
            let timeline = settle(NOW, own(ZERO, NOW - pause), mark(ZERO, NOW - SECOND));
            assert_eq!(timeline, ZERO, "{pause}");
        }
    }

    #[test]
    fn a_machine_whose_own_clock_ran_ahead_follows_the_others() {
        let timeline = settle(NOW, own(ZERO, NOW + HOUR), mark(ZERO, NOW - SECOND));
        assert_eq!(timeline, ZERO);
    }

    #[test]
    fn a_node_that_starts_after_a_step_goes_on_from_the_mark() {
        // No other node has noticed yet.
        let timeline = settle(NOW - HOUR, None, mark(ZERO, NOW - SECOND));
        assert_eq!(timeline.at(NOW - HOUR), NOW - SECOND);
        // Others have.
        let others = ZERO.continued(NOW, NOW - HOUR);
        assert_eq!(settle(NOW - HOUR, None, mark(others, NOW)), others);
    }

    #[test]
    fn time_passes_while_no_node_runs() {
        let corrected = ZERO.continued(NOW, NOW - HOUR);
        assert_eq!(
            settle(NOW + HOUR, None, mark(corrected, NOW)),
            corrected,
            "two hours"
        );
    }

    #[test]
    fn drift_during_a_long_outage_is_no_step() {
        let away = Own {
            timeline: ZERO,
            now: NOW + 800_000,
            tolerance: SECOND,
        };
        assert_eq!(settle(NOW, Some(away), mark(ZERO, NOW - HOUR)), ZERO);
    }

    #[test]
    fn a_redis_that_has_lost_the_mark_is_told_again() {
        let corrected = ZERO.continued(NOW, NOW - HOUR);
        assert_eq!(settle(NOW - HOUR, own(corrected, NOW), None), corrected);
        let older = mark(ZERO, NOW - HOUR - 10 * SECOND);
        assert_eq!(settle(NOW - HOUR, own(corrected, NOW), older), corrected);
    }

    #[test]
    fn what_is_no_mark_is_none() {
        for text in [
            "",
            "0",
            "0 0",
            "0 0 x",
            "0 0 1 2",
            "-1 0 1",
            "0 0 99999999999999999999",
            "hello",
            "0  0 1",
        ] {
            assert_eq!(Mark::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Mark::parse(b"\xff\xff"), None);
    }

    #[test]
    fn what_no_node_writes_is_no_possible_mark() {
        for text in [
            "0 9999999999999999 1",
            "0 -9999999999999999 1",
            "0 0 -1",
            "0 0 9999999999999999",
            "0 0 9007199254740991",
            "5 7258248000000000 5",
            "18446744073709551615 0 1800000000000000",
            "4294967297 0 1800000000000000",
            // A time before 1970.
            "1 -2000000000000000 1",
        ] {
            let mark = Mark::parse(text.as_bytes()).expect(text);
            assert!(!mark.is_possible(NOW), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written(steps: u64, correction: i64, latest: i64) {
            let mark = Mark { timeline: Timeline { steps, correction }, latest };
            prop_assert_eq!(Mark::parse(mark.to_string().as_bytes()), Some(mark));
        }

        /// Redis may hold anything, and its clock may say anything: what a node writes then is a possible mark.
        #[test]
        fn what_is_settled_is_a_possible_mark(
            steps: u64,
            correction in -2 * MAX_CORRECTION..2 * MAX_CORRECTION,
            latest in -MAX_LATEST..2 * MAX_LATEST,
            redis_now in 0..NOW + 10 * 366 * 24 * HOUR,
            own_now in prop::option::of(0..MAX_LATEST),
        ) {
            let found = Mark { timeline: Timeline { steps, correction }, latest };
            let own = own_now.and_then(|now| own(ZERO.continued(now, redis_now), now));
            let timeline = settle(redis_now, own, Some(found).filter(|mark| mark.is_possible(redis_now)));
            let written = Mark { timeline, latest: timeline.at(redis_now) };
            prop_assert!(written.is_possible(redis_now), "{written}");
        }

        /// Nodes measure once a second, each at its own moment, while Redis's clock is stepped to and fro. Log times
        /// never go back, and go forward only as time does.
        #[test]
        fn log_times_go_on_evenly_while_redis_clock_is_stepped(
            steps in prop::collection::vec((1..20_i64, prop_oneof![
                (-4 * HOUR)..-STEP_MICROS * 2, (SILENCE + 2 * SECOND)..4 * HOUR,
            ]), 1..8),
            phases in prop::collection::vec(0..SECOND, 1..4),
        ) {
            let mut redis_ahead = 0;
            let mut in_redis: Option<Mark> = None;
            let mut nodes = vec![ZERO; phases.len()];
            // Redis's clock less the true time when each node last measured it.
            let mut measured = vec![0; phases.len()];
            let mut started = false;
            let mut second = 0;
            for (pause, step) in steps {
                for _ in 0..pause {
                    second += 1;
                    let mut order: Vec<usize> = (0..nodes.len()).collect();
                    order.sort_by_key(|&node| phases[node]);
                    for node in order {
                        let time = NOW + second * SECOND + phases[node];
                        let now = nodes[node].at(time + measured[node]);
                        let own = started.then_some(Own { timeline: nodes[node], now, tolerance: STEP_MICROS });
                        nodes[node] = settle(time + redis_ahead, own, in_redis);
                        measured[node] = redis_ahead;
                        let after = nodes[node].at(time + redis_ahead);
                        prop_assert!((after - time).abs() <= STEP_MICROS, "{} at {}", after - time, second);
                        in_redis = Some(Mark { timeline: nodes[node], latest: after });
                    }
                    started = true;
                }
                redis_ahead += step;
            }
        }
    }
}
