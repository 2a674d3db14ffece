use super::*;

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

fn at(micros: i64) -> LogTime {
    LogTime::from_micros(1_800_000_000_000_000 + micros)
}

const SECOND: i64 = 1_000_000;

/// A request of this node at `micros`. Its member is the same number.
fn entry(micros: i64) -> LogEntry {
    LogEntry {
        at: at(micros),
        member: micros as i32,
    }
}

fn arrive(known: &mut Known, quota: Quota, micros: i64) -> Place {
    match known.arrive(quota, entry(micros), None) {
        Arrival::Undecided { place, .. } => place,
        Arrival::Refused => panic!("refused without asking"),
    }
}

/// Redis has a log of `entries` in the order of their times, of which the last is the request at `micros`.
fn answer(quota: Quota, entries: &[i64]) -> Decision {
    let mut log = crate::limiter::WindowLog::default();
    let decisions = entries.iter().map(|micros| log.record(quota, at(*micros)));
    decisions.last().expect("an entry")
}

/// A request at the last of `entries`, all of which Redis has.
fn ask(known: &mut Known, quota: Quota, entries: &[i64]) -> bool {
    let own = entry(*entries.last().expect("an entry"));
    let Arrival::Undecided { earlier, place } = known.arrive(quota, own, None) else {
        panic!("refused without asking");
    };
    let decision = answer(quota, entries);
    known.answered(quota, (own, place), &earlier, own, decision)
}

/// Decides a request at `micros` without Redis.
fn alone(known: &mut Known, quota: Quota, micros: i64, nodes: usize) -> Decision {
    let place = arrive(known, quota, micros);
    let decision = known.alone(quota, at(micros), place, nodes);
    known.unanswered(entry(micros), entry(micros));
    decision
}

#[test]
fn who_has_used_six_of_ten_has_four_left_and_one_of_three_nodes_gives_one() {
    for (nodes, left) in [(1, 4), (2, 2), (3, 1), (4, 1), (5, 0)] {
        let (quota, mut known) = (quota("10/10s"), Known::default());
        assert!(ask(&mut known, quota, &[1, 2, 3, 4, 5, 6]));
        let decisions = (10..20).map(|micros| alone(&mut known, quota, micros, nodes));
        let admitted = decisions.filter(|decision| decision.admitted).count();
        assert_eq!(admitted, left, "{nodes} nodes");
    }
}

#[test]
fn who_was_refused_stays_refused_until_the_moment_that_redis_would_have_said() {
    let (quota, mut known) = (quota("3/10s"), Known::default());
    for own in [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]] {
        assert!(ask(&mut known, quota, own));
    }
    // 2 is the third newest.
    let refused = alone(&mut known, quota, 10 * SECOND + 1, 1);
    assert!(!refused.admitted);
    // Now it is 3.
    assert_eq!(refused.reset_after, Duration::from_micros(2));
    assert!(alone(&mut known, quota, 10 * SECOND + 3, 1).admitted);
}

#[test]
fn entries_of_others_count_for_a_window_after_redis_has_told_of_them() {
    let (quota, mut known) = (quota("4/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1, 2, 3, 2 * SECOND]));
    let refused = alone(&mut known, quota, 3 * SECOND, 1);
    assert!(!refused.admitted);
    assert_eq!(refused.reset_after, Duration::from_secs(9));
    let admitted = alone(&mut known, quota, 12 * SECOND, 1);
    assert!(admitted.admitted);
    assert_eq!(admitted.remaining, 2);
}

#[test]
fn an_entry_that_was_written_back_stays_unshared_until_redis_tells_of_it() {
    let (quota, mut known) = (quota("9/10s"), Known::default());
    for micros in 1..=3 {
        assert!(alone(&mut known, quota, micros, 3).admitted);
    }
    let kept: Vec<_> = known.kept().collect();
    assert_eq!(kept, [1, 2, 3].map(entry));
    known.has_written(&kept);
    assert_eq!(known.kept().count(), 0);
    // The other nodes may have admitted three each, and Redis has not told yet.
    assert!(!alone(&mut known, quota, 4, 3).admitted);
    assert!(ask(&mut known, quota, &[1, 2, 3, 4, 5]));
    let next = alone(&mut known, quota, 6, 3);
    assert!(next.admitted, "of four that are left, one is this node's");
}

#[test]
fn an_answer_that_lacks_what_redis_had_is_noticed() {
    let (quota, mut known) = (quota("9/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1, 2, 3]));
    assert!(ask(&mut known, quota, &[1, 2, 3, 4]));
    // Of its own two and the others' two, one is missing.
    assert!(!ask(&mut known, quota, &[2, 3, 4, 5]));
    // Nothing was learnt from it: four are common, and one is on its way.
    let next = alone(&mut known, quota, 6, 1);
    assert_eq!(next.remaining, 9 - 6);
}

#[test]
fn nothing_is_missing_because_a_later_request_was_answered_first() {
    let (quota, mut known) = (quota("9/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1, 2]));
    let first = (entry(3), arrive(&mut known, quota, 3));
    // On another connection. Redis has had the first before it, and another node's request between them.
    assert!(ask(&mut known, quota, &[1, 2, 3, 4, 5]));
    let overtaken = answer(quota, &[1, 2, 3]);
    assert!(known.answered(quota, first, &[], entry(3), overtaken));
    // What was known when a request arrived must be there, whatever was answered since.
    let late = (entry(6), arrive(&mut known, quota, 6));
    assert!(ask(&mut known, quota, &[1, 2, 3, 4, 5, 7]));
    let lacking = answer(quota, &[3, 5, 6]);
    assert!(!known.answered(quota, late, &[], entry(6), lacking));
}

#[test]
fn nothing_is_missing_because_it_is_about_to_leave_the_window() {
    let (quota, mut known) = (quota("9/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1, 2, 3]));
    // A node whose clock is ahead has removed them already.
    assert!(ask(&mut known, quota, &[9_500_000]));
}

#[test]
fn an_entry_gets_the_member_that_it_has_in_redis() {
    let (quota, mut known) = (quota("9/10s"), Known::default());
    let request = (entry(1), arrive(&mut known, quota, 1));
    let logged = LogEntry {
        member: 77,
        ..entry(1)
    };
    assert!(known.answered(quota, request, &[], logged, answer(quota, &[1])));
    let entries: Vec<_> = known.counting(quota, at(2)).collect();
    assert_eq!(entries, [logged]);
}

#[test]
fn requests_on_their_way_count_but_are_not_written_back() {
    let (quota, mut known) = (quota("2/10s"), Known::default());
    arrive(&mut known, quota, 1);
    assert_eq!(arrive(&mut known, quota, 2).rank, 2);
    assert_eq!(known.kept().count(), 0);
    assert_eq!(known.counting(quota, at(3)).count(), 0);
    assert!(!alone(&mut known, quota, 3, 1).admitted);
}

#[test]
fn the_promised_moment_is_the_first_at_which_a_quiet_client_is_admitted() {
    // Own entries, common and unshared, others', and several nodes: compared with trying every moment.
    let quota = quota("6/10s");
    for nodes in 1..=4 {
        let known = || {
            let mut known = Known::default();
            ask(&mut known, quota, &[1, 2, SECOND]);
            ask(&mut known, quota, &[1, 2, SECOND, 2 * SECOND]);
            for second in 3..=9 {
                alone(&mut known, quota, second * SECOND, nodes);
            }
            known
        };
        let refused = alone(&mut known(), quota, 9 * SECOND + 1, nodes);
        assert!(!refused.admitted);
        let promised = 9 * SECOND + 1 + refused.reset_after.as_micros() as i64;
        let admitted = |micros| {
            let mut known = known();
            alone(&mut known, quota, 9 * SECOND + 1, nodes);
            alone(&mut known, quota, micros, nodes).admitted
        };
        assert!(admitted(promised), "{nodes} nodes");
        assert!(!admitted(promised - 1), "{nodes} nodes");
    }
}

#[test]
fn no_node_admits_anybody_if_there_are_more_nodes_than_the_quota_has_requests() {
    let (quota, mut known) = (quota("2/10s"), Known::default());
    let refused = alone(&mut known, quota, 1, 3);
    assert!(!refused.admitted);
    assert_eq!(refused.reset_after, quota.window());
}

proptest::proptest! {
    /// Requests go round the nodes while Redis answers, then it does not: the nodes together admit exactly the quota.
    #[test]
    fn nodes_that_are_asked_in_turn_admit_exactly_the_quota(
        limit in 1..40_u32,
        nodes in 1..7_usize,
        used in 0..60_usize,
        more in 0..200_usize,
    ) {
        let quota = Quota::new(limit, Duration::from_secs(3600)).expect("a quota");
        let mut known: Vec<Known> = std::iter::repeat_with(Known::default).take(nodes).collect();
        let mut entries = Vec::new();
        let mut admitted = 0;
        for number in 0..used {
            entries.push(number as i64);
            proptest::prop_assert!(ask(&mut known[number % nodes], quota, &entries));
            admitted += usize::from(answer(quota, &entries).admitted);
        }
        for number in used..used + more {
            let decision = alone(&mut known[number % nodes], quota, number as i64, nodes);
            admitted += usize::from(decision.admitted);
        }
        let all = used + more;
        proptest::prop_assert!(admitted <= limit as usize);
        if more >= nodes * limit as usize && used >= nodes {
            proptest::prop_assert_eq!(admitted, all.min(limit as usize));
        }
    }

    /// One node alone is as exact as a log.
    #[test]
    fn one_node_alone_decides_as_a_window_log_does(
        limit in 1..6_u32,
        pauses in proptest::collection::vec((0..4_i64, proptest::bool::ANY), 1..80),
    ) {
        let quota = Quota::new(limit, Duration::from_millis(6)).expect("a quota");
        let (mut known, mut log) = (Known::default(), crate::limiter::WindowLog::default());
        let mut now = 0;
        for (number, (pause, redis_answers)) in pauses.into_iter().enumerate() {
            now += pause * 1_000;
            let entry = LogEntry { at: at(now), member: number as i32 };
            let Arrival::Undecided { place, earlier } = known.arrive(quota, entry, None) else {
                panic!("refused without asking");
            };
            let expected = log.record(quota, entry.at);
            let decision = known.alone(quota, entry.at, place, 1);
            if redis_answers {
                proptest::prop_assert!(known.answered(quota, (entry, place), &earlier, entry, expected));
            } else {
                known.unanswered(entry, entry);
            }
            proptest::prop_assert_eq!(decision, expected);
        }
    }
}

#[test]
fn what_was_common_when_a_request_arrived_counts_for_it() {
    let (quota, mut known) = (quota("8/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1]));
    let places: Vec<Place> = (2..6)
        .map(|micros| arrive(&mut known, quota, micros))
        .collect();
    // So many that the common one is dropped.
    for micros in 10..20 {
        arrive(&mut known, quota, micros);
    }
    // Seven are left, so one of two nodes admits three.
    let admitted = places
        .iter()
        .zip(2..6)
        .filter(|(place, micros)| known.alone(quota, at(*micros), **place, 2).admitted);
    assert_eq!(admitted.count(), 3);
}

#[test]
fn a_log_without_its_oldest_entry_has_lost_it_even_if_others_have_filled_it_up() {
    let (quota, mut known) = (quota("8/10s"), Known::default());
    assert!(ask(&mut known, quota, &[1]));
    assert!(!ask(&mut known, quota, &[2, 3, 4, 5]));
    assert!(ask(&mut known, quota, &[1, 2, 3, 4, 5, 6]));
}
