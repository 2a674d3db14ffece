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
    let clock = RedisClock::new(BootClock::new());
    assert!(!clock.add_sample(0, 100, EPOCH + 50), "nothing was known");
    clock.settle_at(100, None);
    assert_eq!((offset(&clock), log_offset(&clock)), (EPOCH, EPOCH));
    clock
}

#[test]
fn the_sample_with_the_smallest_round_trip_counts() {
    let clock = RedisClock::new(BootClock::new());
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

/// A slow round trip may have been slow in one direction only.
#[test]
fn no_more_than_half_of_each_slow_round_trip_is_explained_by_it() {
    const SLOW: i64 = 40_000;
    for (beyond, is_step) in [(0, false), (2_000, true)] {
        let clock = RedisClock::new(BootClock::new());
        clock.add_sample(0, SLOW, EPOCH);
        clock.settle_at(SLOW, None);
        // Redis answered at the end of the first round trip, and at the beginning of the second.
        let moved = STEP_MICROS + SLOW + beyond;
        let middle = SECOND + SLOW / 2 - 100;
        let fits = clock.add_sample(SECOND, SECOND + SLOW - 200, offset(&clock) + middle + moved);
        assert_eq!(fits, !is_step, "{beyond}");
        clock.settle_at(SECOND + SLOW, None);
        assert_eq!(clock.take_step().is_some(), is_step, "{beyond}");
    }
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
    let clock = RedisClock::new(BootClock::new());
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
fn a_measurement_that_is_too_old_is_not_gone_by() {
    let clock = RedisClock::new(BootClock::new());
    assert_eq!(clock.fresh_at(0), None, "nothing is known");
    clock.add_sample(0, 100, EPOCH + 50);
    assert_eq!(clock.fresh_at(100), None, "until it is settled");
    clock.settle_at(100, None);
    let last = 100 + MAX_AGE_MICROS;
    let log_time = LogTime::from_micros(EPOCH + last);
    assert_eq!(clock.fresh_at(last), Some(log_time));
    assert_eq!(clock.fresh_at(last + 1), None);
    clock.add_sample(last, last + 100, EPOCH + last + 50);
    clock.settle_at(last + 100, None);
    assert!(clock.fresh_at(last + 101).is_some());
}

#[test]
fn old_samples_are_forgotten() {
    let clock = RedisClock::new(BootClock::new());
    clock.add_sample(0, 10, EPOCH + 5);
    for second in 1..=SAMPLES as i64 {
        let sent = second * SECOND;
        clock.add_sample(sent, sent + 100, EPOCH + sent + 50 + second * 50);
    }
    assert!(offset(&clock) > EPOCH, "the drift since was taken in");
}
