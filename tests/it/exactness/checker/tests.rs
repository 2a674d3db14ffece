//! The checker against models: a limiter that follows the rule is never accused, and what a brute force finds is found.

use proptest::prelude::*;

use super::{Checker, Limit, Outcome, Record};

const WINDOW: i64 = 100;

fn checker(requests: usize) -> Checker {
    Checker {
        limits: vec![Limit {
            requests,
            window: WINDOW,
        }],
        clock_error: 0,
    }
}

fn record(sent: i64, received: i64, outcome: Outcome) -> Record {
    Record {
        sent,
        received,
        outcome,
        node: 0,
    }
}

fn admitted(sent: i64, received: i64) -> Record {
    record(sent, received, Outcome::Admitted)
}

fn refused(sent: i64, received: i64) -> Record {
    record(sent, received, Outcome::Refused)
}

#[test]
fn v1_needs_a_window_that_holds_all_of_them_whatever_their_times_were() {
    let over = |records: &[Record]| checker(2).check(records).over_admitted_requests();
    assert_eq!(
        over(&[admitted(0, 0), admitted(50, 50), admitted(99, 99)]),
        1
    );
    assert_eq!(
        over(&[admitted(0, 0), admitted(50, 50), admitted(100, 100)]),
        0
    );
    // The last may have come at 100.
    assert_eq!(
        over(&[admitted(0, 0), admitted(50, 50), admitted(90, 100)]),
        0
    );
    // The first may have come at 9.
    assert_eq!(
        over(&[admitted(0, 9), admitted(50, 50), admitted(108, 108)]),
        0
    );
    // A request that took longer than a window proves nothing.
    assert_eq!(
        over(&[admitted(0, 200), admitted(100, 101), admitted(102, 103)]),
        0
    );
    // Of these two, the one that was answered later may have come a whole window before the other, or just after it.
    let early_or_late = [admitted(2, 100), admitted(0, 101)];
    let found = checker(1).check(&early_or_late);
    assert_eq!(found.over_admitted_requests(), 0);
    // What is refused is not admitted, and what is over is over once.
    assert_eq!(
        over(&[admitted(0, 0), refused(1, 1), admitted(2, 2), refused(3, 3)]),
        0
    );
    let five: Vec<Record> = (0..5).map(|time| admitted(time, time)).collect();
    assert_eq!(over(&five), 3);
}

#[test]
fn v2_counts_refused_requests_but_only_those_that_were_answered_before() {
    let full = |records: &[Record]| checker(2).check(records).admitted_in_a_full_window;
    assert_eq!(
        full(&[admitted(0, 1), refused(2, 3), admitted(98, 99)]),
        [2]
    );
    assert_eq!(
        full(&[admitted(0, 1), refused(2, 3), admitted(98, 100)]),
        [0_usize; 0]
    );
    assert_eq!(
        full(&[admitted(0, 1), refused(2, 50), admitted(50, 51)]),
        [0_usize; 0]
    );
    let lost = record(2, 3, Outcome::Failed);
    assert_eq!(
        full(&[admitted(0, 1), lost, admitted(50, 51)]),
        [0_usize; 0]
    );
}

#[test]
fn v3_counts_all_that_may_have_been_logged() {
    let free = |records: &[Record]| checker(2).check(records).refused_in_a_free_window;
    assert_eq!(free(&[admitted(0, 1), refused(2, 3)]), [1]);
    assert_eq!(
        free(&[admitted(0, 1), admitted(0, 1), refused(2, 3)]),
        [0_usize; 0]
    );
    assert_eq!(
        free(&[admitted(0, 1), admitted(2, 3), refused(101, 102)]),
        [2]
    );
    assert_eq!(
        free(&[admitted(0, 1), admitted(2, 3), refused(100, 102)]),
        [0_usize; 0]
    );
    // It was on its way at the same time.
    assert_eq!(
        free(&[admitted(0, 1), refused(5, 9), admitted(8, 30)]),
        [0_usize; 0]
    );
    let at_once = checker(1).check(&[admitted(5, 5), refused(5, 5)]);
    assert_eq!(at_once.refused_in_a_free_window, [0_usize; 0]);
    // It was sent, and may arrive at any time.
    let lost = record(2, 3, Outcome::Failed);
    assert_eq!(
        free(&[lost, admitted(500, 501), refused(502, 503)]),
        [0_usize; 0]
    );
}

#[test]
fn a_refusal_is_right_if_one_of_several_quotas_is_used_up() {
    let mut both = checker(4);
    both.limits.push(Limit {
        requests: 1,
        window: 10,
    });
    let records = [
        admitted(0, 0),
        refused(9, 9),
        admitted(30, 30),
        admitted(35, 35),
    ];
    let verdicts = both.check(&records);
    assert_eq!(verdicts.refused_in_a_free_window, [0_usize; 0]);
    assert_eq!(verdicts.over_admitted, [vec![], vec![3]]);
    assert_eq!(verdicts.admitted_in_a_full_window, [3]);
}

#[test]
fn an_error_of_the_clock_excuses_what_it_can_explain() {
    let exact = checker(1);
    let mut lenient = checker(1);
    lenient.clock_error = 5;
    for (records, excused) in [
        ([admitted(0, 0), admitted(90, 90)], true),
        ([admitted(0, 0), admitted(89, 89)], false),
        ([admitted(0, 0), refused(100, 100)], true),
        ([admitted(0, 0), refused(109, 109)], true),
        ([admitted(0, 0), refused(110, 110)], false),
    ] {
        assert_ne!(exact.check(&records), lenient_none(), "{records:?}");
        let is_excused = lenient.check(&records) == lenient_none();
        assert_eq!(is_excused, excused, "{records:?}");
    }
}

/// No accusation under one quota.
fn lenient_none() -> super::Verdicts {
    super::Verdicts {
        over_admitted: vec![vec![]],
        ..super::Verdicts::default()
    }
}

/// A request whose times are all known: sent, logged, decided, answered.
#[derive(Clone, Copy, Debug)]
struct Times {
    sent: i64,
    logged: i64,
    decided: i64,
    received: i64,
}

/// Requests that take up to three windows, most of them a small part of one.
fn schedules(most: usize) -> impl Strategy<Value = Vec<Times>> {
    let part = || prop_oneof![4 => Just(0), 8 => 0..10_i64, 2 => 0..WINDOW, 1 => 0..WINDOW * 3];
    let sent = prop_oneof![
        3 => 0..WINDOW * 5,
        // Pairs that are about one window apart.
        2 => (0..5_i64, -2..3_i64).prop_map(|(windows, off)| (windows * WINDOW + off).max(0)),
    ];
    let times = (sent, part(), part(), part()).prop_map(|(sent, a, b, c)| Times {
        sent,
        logged: sent + a,
        decided: sent + a + b,
        received: sent + a + b + c,
    });
    prop::collection::vec(times, 1..most)
}

/// Decides as Redis does: one after the other in the order of the decisions, each with the time at which it was logged.
fn decide(limit: usize, schedule: &[Times]) -> Vec<Record> {
    let mut order: Vec<usize> = (0..schedule.len()).collect();
    order.sort_by_key(|&i| schedule[i].decided);
    let mut log: Vec<i64> = Vec::new();
    let mut records: Vec<Record> = schedule
        .iter()
        .map(|times| refused(times.sent, times.received))
        .collect();
    for i in order {
        let at = schedule[i].logged;
        log.push(at);
        log.retain(|&entry| entry > at - WINDOW);
        log.sort_unstable();
        log.drain(..log.len().saturating_sub(limit + 1));
        if log.len() <= limit {
            records[i].outcome = Outcome::Admitted;
        }
    }
    records
}

/// Whether each choice of times within the intervals puts all of these into one window. The extreme choices are enough:
/// every time is at one end of its interval.
fn must_share_a_window(records: &[&Record]) -> bool {
    (0..1_u32 << records.len()).all(|choice| {
        let time = |(i, record): (usize, &&Record)| {
            if choice & (1 << i) == 0 {
                record.sent
            } else {
                record.received
            }
        };
        let times = || records.iter().enumerate().map(time);
        times()
            .max()
            .zip(times().min())
            .is_none_or(|(last, first)| last - first < WINDOW)
    })
}

/// All subsets of the numbers below `n`.
fn subsets(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_u32 << n).map(move |set| (0..n).filter(|i| set & (1 << i) != 0).collect())
}

fn outcomes(most: usize) -> impl Strategy<Value = Vec<Record>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Admitted),
        4 => Just(Outcome::Refused),
        1 => Just(Outcome::Failed),
    ];
    (schedules(most), prop::collection::vec(outcome, most)).prop_map(|(schedule, outcomes)| {
        let both = schedule.iter().zip(outcomes);
        both.map(|(times, outcome)| record(times.sent, times.received, outcome))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_limiter_that_follows_the_rule_is_never_accused(
        schedule in schedules(40),
        limit in 1..5_usize,
        lost in prop::collection::vec(0..40_usize, 0..4),
    ) {
        let mut records = decide(limit, &schedule);
        // The answers of some do not reach the client.
        for i in lost.into_iter().filter(|&i| i < schedule.len()) {
            records[i].received = schedule[i].sent;
            records[i].outcome = Outcome::Failed;
        }
        prop_assert_eq!(checker(limit).check(&records), lenient_none());
    }

    #[test]
    fn clocks_that_are_wrong_within_their_error_are_no_accusation(
        schedule in schedules(40),
        errors in prop::collection::vec(-4..=4_i64, 40),
        limit in 1..5_usize,
    ) {
        let mut wrong = schedule;
        for (times, error) in wrong.iter_mut().zip(errors) {
            times.logged += error;
        }
        let mut checker = checker(limit);
        checker.clock_error = 4;
        prop_assert_eq!(checker.check(&decide(limit, &wrong)), lenient_none());
    }

    #[test]
    fn v1_finds_what_a_brute_force_finds(records in outcomes(9), limit in 1..4_usize) {
        let admitted: Vec<&Record> =
            records.iter().filter(|record| record.outcome == Outcome::Admitted).collect();
        let expected = subsets(admitted.len()).any(|set| {
            let set: Vec<&Record> = set.iter().map(|&i| admitted[i]).collect();
            set.len() > limit && must_share_a_window(&set)
        });
        let found = checker(limit).check(&records).over_admitted_requests();
        prop_assert_eq!(found > 0, expected, "{}", found);
    }

    #[test]
    fn if_requests_take_no_time_v1_is_the_fewest_that_are_too_many(
        times in prop::collection::vec(0..WINDOW * 3, 1..10),
        limit in 1..4_usize,
    ) {
        let records: Vec<Record> = times.iter().map(|&time| admitted(time, time)).collect();
        let is_within = |set: &[usize]| {
            let inside = |end: i64| set.iter().filter(|&&i| end - WINDOW < times[i] && times[i] <= end).count();
            times.iter().all(|&end| inside(end) <= limit)
        };
        let most = subsets(times.len()).filter(|set| is_within(set)).map(|set| set.len()).max();
        let found = checker(limit).check(&records).over_admitted_requests();
        prop_assert_eq!(Some(times.len() - found), most);
    }

    #[test]
    fn if_requests_take_no_time_v2_and_v3_are_the_rule_itself(
        records in prop::collection::btree_map(0..WINDOW * 4, any::<bool>(), 1..40),
        limit in 1..5_usize,
    ) {
        let records: Vec<Record> = records
            .into_iter()
            .map(|(time, is)| if is { admitted(time, time) } else { refused(time, time) })
            .collect();
        let verdicts = checker(limit).check(&records);
        for (i, this) in records.iter().enumerate() {
            let before = records[..i].iter().filter(|other| other.sent > this.sent - WINDOW).count();
            let should_be = if before < limit { Outcome::Admitted } else { Outcome::Refused };
            let accused = verdicts.admitted_in_a_full_window.contains(&i)
                || verdicts.refused_in_a_free_window.contains(&i);
            prop_assert_eq!(accused, this.outcome != should_be, "request {}", i);
        }
    }
}
