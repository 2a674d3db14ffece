use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000_000_000;
const SECOND: i64 = 1_000_000;

const OWN: NodeId = NodeId(0);
const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(0xb);

fn beat(at: i64, generation: u64) -> Beat {
    Beat {
        at,
        generation: Generation(generation),
    }
}

/// The hash with these beats.
fn holds(beats: &[(NodeId, Beat)]) -> Reading {
    let bytes = |text: String| text.into_bytes();
    let fields = beats.iter();
    let fields = fields.map(|(id, beat)| (bytes(id.to_string()), bytes(beat.to_string())));
    Reading::new(OWN, fields.collect())
}

/// How many nodes a node sees that has just started, and the fields that it removes.
fn at_the_start(reading: Reading) -> (u32, Vec<Vec<u8>>) {
    let roster = Roster::after(None, &reading, NOW, None);
    (roster.nodes().get(), roster.removes(reading))
}

#[test]
fn a_node_counts_until_it_has_been_silent_for_ten_seconds_and_its_field_stays_for_a_minute() {
    let field = A.to_string().into_bytes();
    for (age, nodes, removed) in [
        (0, 2, false),
        (250_000, 2, false),
        (10 * SECOND, 2, false),
        (10 * SECOND + 1, 1, false),
        (60 * SECOND, 1, false),
        (60 * SECOND + 1, 1, true),
    ] {
        let (counted, removes) = at_the_start(holds(&[(A, beat(NOW - age, 0))]));
        assert_eq!(counted, nodes, "{age}");
        assert_eq!(removes.contains(&field), removed, "{age}");
    }
}

#[test]
fn every_other_node_counts_once_and_this_one_in_any_case() {
    assert_eq!(at_the_start(holds(&[])).0, 1);
    assert_eq!(at_the_start(holds(&[(OWN, beat(NOW, 0))])).0, 1);
    let all = [OWN, A, B].map(|id| (id, beat(NOW - SECOND, 0)));
    assert_eq!(at_the_start(holds(&all)).0, 3);
}

#[test]
fn a_node_that_has_removed_itself_counts_no_more() {
    let both = holds(&[(A, beat(NOW, 0)), (B, beat(NOW, 0))]);
    let roster = Roster::after(None, &both, NOW, None);
    let one = holds(&[(A, beat(NOW, 0))]);
    let roster = Roster::after(Some(&roster), &one, NOW + SECOND, None);
    assert_eq!(roster.nodes().get(), 2);
}

#[test]
fn a_beat_from_the_future_counts_as_one_from_now_and_ages_like_any_other() {
    let reading = || holds(&[(A, beat(NOW + 3_600 * SECOND, 0))]);
    let mut roster = Roster::after(None, &reading(), NOW, None);
    let mut seen = Vec::new();
    for second in 1..=61 {
        roster = Roster::after(Some(&roster), &reading(), NOW + second * SECOND, None);
        let is_removed = !roster.removes(reading()).is_empty();
        seen.push((roster.nodes().get(), is_removed));
    }
    assert_eq!(seen[..10], [(2, false); 10]);
    assert_eq!(seen[10..60], [(1, false); 50]);
    assert_eq!(seen[60], (1, true));
}

#[test]
fn after_a_gap_the_others_have_time_to_come_back() {
    let reading = || holds(&[(A, beat(NOW, 0)), (B, beat(NOW, 0))]);
    let roster = Roster::after(None, &reading(), NOW, None);
    let back = NOW + 3_600 * SECOND;
    let mut roster = Roster::after(Some(&roster), &reading(), back, None);
    assert_eq!(roster.nodes().get(), 3);
    assert!(roster.removes(reading()).is_empty());
    // A comes back, B does not.
    for second in 1..=11 {
        let now = back + second * SECOND;
        let reading = holds(&[(A, beat(now, 0)), (B, beat(NOW, 0))]);
        roster = Roster::after(Some(&roster), &reading, now, None);
        assert_eq!(roster.nodes().get(), if second <= 10 { 3 } else { 2 });
    }
}

#[test]
fn nodes_whose_fields_redis_has_lost_have_time_to_beat_again() {
    let reading = holds(&[(A, beat(NOW, 0)), (B, beat(NOW, 0))]);
    let mut roster = Roster::after(None, &reading, NOW, None);
    let empty = holds(&[]);
    let lost = NOW + SECOND;
    roster = Roster::after(Some(&roster), &empty, lost, Some(Generation(1)));
    assert_eq!(roster.nodes().get(), 3);
    let since = LogTime::from_micros(lost);
    assert!(!roster.have_all_beaten(since, Generation(1)));
    // A beats again, B does not.
    for second in 1..=11 {
        let now = lost + second * SECOND;
        let reading = holds(&[(A, beat(now, 1))]);
        roster = Roster::after(Some(&roster), &reading, now, None);
        let is_awaited = second <= 10;
        assert_eq!(roster.nodes().get(), if is_awaited { 3 } else { 2 });
        assert_eq!(roster.have_all_beaten(since, Generation(1)), !is_awaited);
        assert!(roster.removes(reading).is_empty());
    }
}

#[test]
fn log_times_that_go_back_keep_nobody_alive() {
    let reading = || holds(&[(A, beat(NOW, 0))]);
    let mut roster = Roster::after(None, &reading(), NOW, None);
    let back = NOW - 3_600 * SECOND;
    for second in 0..=11 {
        roster = Roster::after(Some(&roster), &reading(), back + second * SECOND, None);
    }
    assert_eq!(roster.nodes().get(), 1);
}

#[test]
fn all_have_beaten_once_each_other_node_that_counts_has() {
    let since = LogTime::from_micros(NOW - SECOND);
    let have = |a: Beat, b: Beat| {
        let roster = Roster::after(None, &holds(&[(A, a), (B, b)]), NOW, None);
        roster.have_all_beaten(since, Generation(2))
    };
    let fresh = beat(NOW - SECOND, 2);
    assert!(have(fresh, fresh));
    assert!(have(fresh, beat(NOW, 3)), "a later generation");
    assert!(have(fresh, beat(NOW + SECOND, 2)), "a clock ahead");
    assert!(!have(fresh, beat(NOW, 1)), "an earlier generation");
    assert!(!have(beat(NOW - SECOND - 1, 2), fresh), "too early");
    assert!(have(fresh, beat(NOW - 11 * SECOND, 0)), "silent");
    let alone = Roster::after(None, &holds(&[]), NOW, None);
    assert!(alone.have_all_beaten(since, Generation(2)));
}

#[test]
fn what_no_node_writes_is_ignored_and_removed() {
    let name = "000000000000000a";
    for (field, value) in [
        ("", "1 0"),
        ("a", "1 0"),
        ("000000000000000A", "1 0"),
        ("+00000000000000a", "1 0"),
        ("000000000000000g", "1 0"),
        ("0000000000000000a", "1 0"),
        ("generation", "7"),
        (name, ""),
        (name, "1"),
        (name, "1 "),
        (name, " 1 0"),
        (name, "1 0 0"),
        (name, "-1 0"),
        (name, "1 -1"),
        (name, "9999999999999999 0"),
        (name, "1 4294967297"),
        (name, "99999999999999999999 0"),
        (name, "soon 0"),
    ] {
        let fields = [(field.as_bytes().to_vec(), value.as_bytes().to_vec())];
        let (nodes, removes) = at_the_start(Reading::new(OWN, fields.into()));
        assert_eq!(nodes, 1, "{field}: {value}");
        assert_eq!(removes, [field.as_bytes()], "{field}: {value}");
    }
}

#[test]
fn an_own_field_that_another_program_has_written_is_not_removed() {
    let fields = [(OWN.to_string().into_bytes(), b"hello".to_vec())];
    let reading = Reading::new(OWN, fields.into());
    assert_eq!(reading.own, None);
    assert_eq!(at_the_start(reading), (1, vec![]));
}

#[test]
fn a_thousand_nodes_are_believed_and_they_beat_more_rarely() {
    let nodes = |count: u64| {
        let beats: Vec<_> = (1..=count).map(|id| (NodeId(id), beat(NOW, 0))).collect();
        Roster::after(None, &holds(&beats), NOW, None)
    };
    for (others, counted, millis) in [
        (0, 1, 250),
        (99, 100, 250),
        (199, 200, 500),
        (999, 1_000, 2_500),
        (5_000, 1_000, 2_500),
    ] {
        let roster = nodes(others);
        assert_eq!(roster.nodes().get(), counted);
        assert!(roster.others.len() <= MAX_NODES);
        assert_eq!(roster.interval(), Duration::from_millis(millis));
    }
}

proptest! {
    #[test]
    fn a_beat_is_read_as_it_was_written(id: u64, at in 0..MAX_AT, generation in 0..=MAX_GENERATION) {
        let written = beat(at, generation);
        prop_assert_eq!(written.to_string().parse(), Ok(written));
        prop_assert_eq!(NodeId(id).to_string().parse(), Ok(NodeId(id)));
    }

    /// Whatever the hash holds, and whenever it is read.
    #[test]
    fn the_number_of_nodes_is_always_one_that_can_be_divided_by(
        fields in prop::collection::btree_map(
            prop_oneof![Just(A.to_string().into_bytes()), any::<Vec<u8>>()],
            prop_oneof![any::<i64>().prop_map(|at| format!("{at} 0").into_bytes()), any::<Vec<u8>>()],
            0..5,
        ),
        times in prop::collection::vec(any::<i64>(), 1..4),
        lost in any::<bool>(),
    ) {
        let mut roster = None;
        for now in times {
            let reading = Reading::new(OWN, fields.clone());
            let next = Roster::after(roster.as_ref(), &reading, now, lost.then_some(Generation(1)));
            prop_assert!((1..=2).contains(&next.nodes().get()));
            roster = Some(next);
        }
    }
}
