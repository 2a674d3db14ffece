use std::collections::BTreeMap;

use super::*;

const NOW: i64 = 1_800_000_000_000_000;
const SECOND: i64 = 1_000_000;

/// The hash as Redis holds it.
#[derive(Clone, Debug, Default)]
struct Hash(BTreeMap<String, String>);

impl Hash {
    fn read(&self, id: NodeId) -> Reading {
        let bytes = |text: &String| text.clone().into_bytes();
        let fields = self.0.iter();
        let fields = fields.map(|(field, value)| (bytes(field), bytes(value)));
        Reading::new(id, fields.collect())
    }

    /// As the transaction of a beat: reads, then writes. Returns what was read.
    fn take(&mut self, id: NodeId, question: &Question) -> Reading {
        let reading = self.read(id);
        if let Some(beat) = question.beat {
            self.0.insert(id.to_string(), beat.to_string());
        }
        reading
    }

    fn take_all<const N: usize>(&mut self, id: NodeId, questions: &[Question; N]) -> [Reading; N] {
        questions.each_ref().map(|question| self.take(id, question))
    }
}

/// All orders in which three answers may come.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

fn new() -> Attendance {
    Attendance::new(NodeId::random())
}

/// Beats, and takes in the answer. Returns the generation that a loss leads to.
fn beat(node: &mut Attendance, hash: &mut Hash, now: i64) -> Option<Generation> {
    let question = node.beat(now);
    let reading = hash.take(node.id(), &question);
    node.answered(&question, &reading, now).lost_writes()
}

/// As a node does it.
fn beat_and_enter(node: &mut Attendance, hash: &mut Hash, now: i64) -> bool {
    beat(node, hash, now).is_some_and(|generation| node.enter(generation))
}

fn nth(number: u32) -> Generation {
    (0..number).fold(Generation::default(), |generation, _| generation.next())
}

#[test]
fn a_node_that_starts_takes_over_the_generation_and_nothing_is_lost() {
    let (mut hash, mut old, mut new) = (Hash::default(), new(), new());
    assert_eq!(beat(&mut old, &mut hash, NOW), None);
    old.enter(nth(3));
    assert_eq!(beat(&mut old, &mut hash, NOW + 1), None);
    assert_eq!(beat(&mut new, &mut hash, NOW + 2), None);
    assert_eq!(beat(&mut new, &mut hash, NOW + 3), None);
    assert_eq!(new.generation, nth(3));
}

#[test]
fn a_redis_that_loses_all_is_noticed_by_each_node_once_and_all_enter_the_same_generation() {
    let (mut hash, mut nodes) = (Hash::default(), [new(), new(), new()]);
    let mut now = NOW;
    for losses in 0..5 {
        let mut noticed = [0; 3];
        for _ in 0..20 {
            for (number, node) in nodes.iter_mut().enumerate() {
                now += 83_000;
                noticed[number] += usize::from(beat_and_enter(node, &mut hash, now));
            }
        }
        assert_eq!(noticed, [usize::from(losses > 0); 3]);
        assert_eq!(
            nodes.each_ref().map(|node| node.generation),
            [nth(losses); 3]
        );
        hash = Hash::default();
    }
}

#[test]
fn a_snapshot_from_before_is_noticed_even_if_it_is_of_another_generation() {
    let (mut hash, mut one, mut other) = (Hash::default(), new(), new());
    for second in 0..3 {
        beat_and_enter(&mut one, &mut hash, NOW + second * SECOND);
        beat_and_enter(&mut other, &mut hash, NOW + second * SECOND);
    }
    let snapshot = hash.clone();
    one.enter(nth(5));
    for second in 3..6 {
        beat_and_enter(&mut one, &mut hash, NOW + second * SECOND);
        beat_and_enter(&mut other, &mut hash, NOW + second * SECOND);
    }
    let mut hash = snapshot;
    assert_eq!(beat(&mut other, &mut hash, NOW + 6 * SECOND), Some(nth(6)));
    other.enter(nth(6));
    assert_eq!(beat(&mut one, &mut hash, NOW + 6 * SECOND), Some(nth(6)));
}

#[test]
fn a_node_that_starts_first_after_a_loss_hides_it_from_nobody() {
    let (mut hash, mut node, mut new) = (Hash::default(), new(), new());
    beat(&mut node, &mut hash, NOW);
    hash = Hash::default();
    beat(&mut new, &mut hash, NOW + 1);
    assert_eq!(beat(&mut node, &mut hash, NOW + 2), Some(nth(1)));
    node.enter(nth(1));
    beat(&mut node, &mut hash, NOW + 3);
    assert_eq!(beat(&mut new, &mut hash, NOW + 4), Some(nth(1)));
}

#[test]
fn a_loss_is_told_until_the_node_enters_the_next_generation() {
    let (mut hash, mut node) = (Hash::default(), new());
    beat(&mut node, &mut hash, NOW);
    hash = Hash::default();
    for beats in 1..4 {
        let told = beat(&mut node, &mut hash, NOW + beats);
        assert_eq!(told, Some(nth(1)));
    }
    let told = |node: &Attendance| node.roster().and_then(Roster::lost_writes);
    assert_eq!(told(&node), Some(nth(1)));
    assert!(node.enter(nth(1)));
    assert_eq!(told(&node), None, "even if no beat is answered any more");
    assert!(!node.enter(nth(1)), "once");
    assert_eq!(beat(&mut node, &mut hash, NOW + 4), None);
}

#[test]
fn a_look_notices_a_loss_and_writes_nothing() {
    let (mut hash, mut node) = (Hash::default(), new());
    beat(&mut node, &mut hash, NOW);
    hash = Hash::default();
    let question = node.look();
    let reading = hash.take(node.id(), &question);
    let told = node.answered(&question, &reading, NOW + 1).lost_writes();
    assert_eq!(told, Some(nth(1)));
    assert!(hash.0.is_empty());
    node.enter(nth(1));
    assert_eq!(beat(&mut node, &mut hash, NOW + 2), None, "the same loss");
}

#[test]
fn beats_whose_answers_are_lost_are_no_loss() {
    for arrived in [false, true] {
        let (mut hash, mut node) = (Hash::default(), new());
        beat(&mut node, &mut hash, NOW);
        let question = node.beat(NOW + SECOND);
        if arrived {
            hash.take(node.id(), &question);
        }
        assert_eq!(beat(&mut node, &mut hash, NOW + 2 * SECOND), None);
        assert_eq!(beat(&mut node, &mut hash, NOW + 3 * SECOND), None);
    }
}

#[test]
fn a_beat_that_arrives_after_a_later_one_is_no_loss() {
    let (mut hash, mut node) = (Hash::default(), new());
    beat(&mut node, &mut hash, NOW);
    let late = node.beat(NOW + SECOND);
    assert_eq!(beat(&mut node, &mut hash, NOW + 2 * SECOND), None);
    // On a connection that the node has given up.
    hash.take(node.id(), &late);
    assert_eq!(beat(&mut node, &mut hash, NOW + 3 * SECOND), None);
    // But it is not expected for ever.
    for second in 4..20 {
        beat(&mut node, &mut hash, NOW + second * SECOND);
    }
    hash.take(node.id(), &late);
    let told = beat(&mut node, &mut hash, NOW + 20 * SECOND);
    assert_eq!(told, Some(nth(1)), "an old snapshot");
}

#[test]
fn a_look_beside_a_beat_is_no_loss_in_whichever_order_the_answers_come() {
    for look_is_read_first in [false, true] {
        let (mut hash, mut node) = (Hash::default(), new());
        beat(&mut node, &mut hash, NOW);
        let look = node.look();
        let beating = node.beat(NOW + 1);
        let (looked, beaten) = if look_is_read_first {
            let looked = hash.take(node.id(), &look);
            (looked, hash.take(node.id(), &beating))
        } else {
            let beaten = hash.take(node.id(), &beating);
            (hash.take(node.id(), &look), beaten)
        };
        let told = node.answered(&beating, &beaten, NOW + 2).lost_writes();
        assert_eq!(told, None);
        let told = node.answered(&look, &looked, NOW + 3).lost_writes();
        assert_eq!(told, None, "{look_is_read_first}");
        assert_eq!(beat(&mut node, &mut hash, NOW + 4), None);
    }
}

#[test]
fn a_field_that_others_remove_when_the_node_comes_back_is_no_loss() {
    let (mut hash, mut node, mut other) = (Hash::default(), new(), new());
    beat(&mut node, &mut hash, NOW);
    beat(&mut other, &mut hash, NOW);
    let field = node.id().to_string();
    let back = NOW + 120 * SECOND;
    for second in (1..=120).step_by(2) {
        beat(&mut other, &mut hash, NOW + second * SECOND);
    }
    // Before it is back.
    hash.0.remove(&field);
    assert_eq!(beat(&mut node, &mut hash, back), None);
    // Just after that.
    hash.0.remove(&field);
    assert_eq!(beat(&mut node, &mut hash, back + SECOND), None);
    // Later, no node removes it.
    for second in 2..20 {
        assert_eq!(beat(&mut node, &mut hash, back + second * SECOND), None);
    }
    hash.0.remove(&field);
    let told = beat(&mut node, &mut hash, back + 20 * SECOND);
    assert_eq!(told, Some(nth(1)));
}

#[test]
fn a_node_that_comes_back_late_notices_that_redis_is_empty_or_that_others_did() {
    let (mut hash, mut node) = (Hash::default(), new());
    beat(&mut node, &mut hash, NOW);
    let back = NOW + 120 * SECOND;
    let mut empty = Hash::default();
    assert_eq!(beat(&mut node, &mut empty, back), Some(nth(1)));

    let (mut hash, mut node, mut other) = (Hash::default(), new(), new());
    beat(&mut node, &mut hash, NOW);
    beat(&mut other, &mut hash, NOW);
    other.enter(nth(1));
    hash = Hash::default();
    beat(&mut other, &mut hash, back);
    assert_eq!(beat(&mut node, &mut hash, back), Some(nth(1)));
}

#[test]
fn beats_that_are_under_way_at_once_are_no_loss_in_whichever_order_the_answers_come() {
    for order in ORDERS {
        let (mut hash, mut node) = (Hash::default(), new());
        beat(&mut node, &mut hash, NOW);
        let questions = [1, 2, 3].map(|micros| node.beat(NOW + micros));
        let readings = hash.take_all(node.id(), &questions);
        for number in order {
            let (question, reading) = (&questions[number], &readings[number]);
            let told = node.answered(question, reading, NOW + 4).lost_writes();
            assert_eq!(told, None, "{order:?}");
        }
        for later in 5..8 {
            assert_eq!(beat(&mut node, &mut hash, NOW + later), None, "{order:?}");
        }
        let mut hash = Hash::default();
        assert_eq!(
            beat(&mut node, &mut hash, NOW + 8),
            Some(nth(1)),
            "{order:?}"
        );
    }
}

#[test]
fn a_loss_between_questions_that_are_under_way_at_once_is_one_loss() {
    for order in ORDERS {
        let (mut hash, mut node) = (Hash::default(), new());
        beat(&mut node, &mut hash, NOW);
        let questions = [node.look(), node.beat(NOW + 1), node.beat(NOW + 2)];
        let mut hash = Hash::default();
        let readings = hash.take_all(node.id(), &questions);
        let mut losses = 0;
        for number in order {
            let (question, reading) = (&questions[number], &readings[number]);
            let told = node.answered(question, reading, NOW + 3).lost_writes();
            losses += usize::from(told.is_some_and(|generation| node.enter(generation)));
        }
        for later in 4..7 {
            losses += usize::from(beat_and_enter(&mut node, &mut hash, NOW + later));
        }
        assert_eq!(losses, 1, "{order:?}");
    }
}
