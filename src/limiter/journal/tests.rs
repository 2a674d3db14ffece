use std::net::Ipv4Addr;

use super::*;

const INTERVAL: Duration = Duration::from_millis(250);

fn journal() -> Journal {
    let mut journal = Journal::new(64 << 20);
    journal.refuse_floods(INTERVAL);
    journal
}

fn client(number: u32) -> ClientId {
    ClientId::new(Ipv4Addr::from_bits(number).into(), 64)
}

fn policy(quota: &str) -> Policy {
    Policy::default_policy(quota.parse().expect("a quota"))
}

fn at(micros: i64) -> LogTime {
    LogTime::from_micros(1_800_000_000_000_000 + micros)
}

fn entry(micros: i64) -> LogEntry {
    LogEntry {
        at: at(micros),
        member: rand::random(),
    }
}

fn refusal(policy: &Policy) -> Decision {
    Decision {
        admitted: false,
        remaining: 0,
        reset_after: policy.quota.window(),
    }
}

/// Redis refuses a request at `micros` whose L-th newest entry came at the same moment.
fn refuse(journal: &Journal, policy: &Policy, client: ClientId, micros: i64) {
    let pending = journal.arrive(policy, client, entry(micros));
    let mut pending = pending.continue_value().expect("Redis has to decide");
    assert!(pending.answered(pending.entry(), refusal(policy)));
}

fn is_refused(journal: &Journal, policy: &Policy, client: ClientId, micros: i64) -> bool {
    journal.arrive(policy, client, entry(micros)).is_break()
}

#[test]
fn an_entry_refuses_until_it_leaves_the_window_and_not_a_microsecond_longer() {
    // A window shorter than two intervals.
    let (journal, policy) = (journal(), policy("3/100ms"));
    refuse(&journal, &policy, client(1), 0);
    refuse(&journal, &policy, client(2), 0);
    assert!(is_refused(&journal, &policy, client(1), 99_999));
    assert!(!is_refused(&journal, &policy, client(2), 100_000));
}

#[test]
fn no_other_client_and_no_other_policy_is_refused() {
    let (journal, policy) = (journal(), policy("3/minute"));
    let other = Policy {
        name: "other".parse().expect("a name"),
        quota: policy.quota,
    };
    refuse(&journal, &policy, client(1), 0);
    assert!(is_refused(&journal, &policy, client(1), 1));
    assert!(!is_refused(&journal, &policy, client(2), 1));
    assert!(!is_refused(&journal, &other, client(1), 1));
}

#[test]
fn without_a_shield_redis_decides_every_request() {
    let (journal, policy) = (Journal::new(1 << 20), policy("3/minute"));
    refuse(&journal, &policy, client(1), 0);
    assert!(!is_refused(&journal, &policy, client(1), 1));
}

#[test]
fn a_flood_is_remembered_no_further_than_it_matters_and_forgotten_when_it_is_over() {
    let (journal, policy) = (journal(), policy("3/minute"));
    refuse(&journal, &policy, client(1), 0);
    for micros in 1..10_000 {
        assert!(is_refused(&journal, &policy, client(1), micros));
    }
    assert_eq!(journal.floods(), 1);
    let backlog = journal.listed(at(10_000));
    let times: Vec<_> = backlog[0].entries.iter().map(|entry| entry.at).collect();
    assert_eq!(times, [9_996, 9_997, 9_998, 9_999].map(at));

    journal.has_written(&backlog[0]);
    assert!(journal.listed(at(10_001)).is_empty(), "once is enough");
    assert_eq!(journal.floods(), 1);
    assert!(journal.listed(at(10_000_000)).is_empty());
    assert_eq!(journal.floods(), 0);
}

#[test]
fn what_comes_while_the_backlog_is_written_stays_in_it() {
    let (journal, policy) = (journal(), policy("3/minute"));
    refuse(&journal, &policy, client(1), 0);
    assert!(is_refused(&journal, &policy, client(1), 1));
    let under_way = journal.listed(at(2));
    assert!(is_refused(&journal, &policy, client(1), 3));
    journal.has_written(&under_way[0]);
    let next = journal.listed(at(4));
    assert_eq!(next[0].entries.len(), 1);
    assert_eq!(next[0].entries[0].at, at(3));
}

#[test]
fn no_client_is_refused_for_entries_from_the_future() {
    let (journal, policy) = (journal(), policy("3/minute"));
    for (number, micros, refused) in [
        (1, -1_000_000, true),
        (2, -1_000_001, false),
        (3, -3_600_000_000, false),
    ] {
        refuse(&journal, &policy, client(number), 0);
        assert_eq!(
            is_refused(&journal, &policy, client(number), micros),
            refused
        );
    }
}

#[test]
fn one_client_under_one_policy_can_be_forgotten() {
    let (journal, policy) = (journal(), policy("3/minute"));
    for number in [1, 2] {
        refuse(&journal, &policy, client(number), 0);
        assert!(is_refused(&journal, &policy, client(number), 1));
    }
    journal.forget(&policy, client(1));
    journal.forget(&policy, client(3));
    assert!(!is_refused(&journal, &policy, client(1), 2));
    assert!(is_refused(&journal, &policy, client(2), 2));
    assert_eq!(journal.usage().clients, 2);
}

#[test]
fn a_request_that_is_given_up_is_written_back() {
    let (journal, policy) = (journal(), policy("3/minute"));
    let given_up = entry(1);
    drop(journal.arrive(&policy, client(1), given_up));
    let backlog = journal.listed(at(2));
    assert_eq!(backlog[0].entries, [given_up]);
    journal.has_written(&backlog[0]);
    assert!(journal.listed(at(3)).is_empty());
    assert!(journal.unwritten().flatten().next().is_none());
    let everything: Vec<_> = journal.everything(at(4)).flatten().collect();
    assert_eq!(everything[0].entries, [given_up]);
    assert_eq!(journal.everything(at(60_000_001)).flatten().count(), 0);
}

#[test]
fn the_next_request_of_a_client_takes_along_what_redis_may_not_have() {
    let (journal, policy) = (journal(), policy("3/minute"));
    let given_up = entry(1);
    drop(journal.arrive(&policy, client(1), given_up));
    let next = journal.arrive(&policy, client(1), entry(2));
    let mut next = next.continue_value().expect("Redis has to decide");
    assert_eq!(next.earlier(), [given_up]);
    let admitted = Decision {
        admitted: true,
        remaining: 1,
        reset_after: policy.quota.window(),
    };
    assert!(next.answered(next.entry(), admitted));
    drop(next);
    assert!(journal.listed(at(3)).is_empty());
}

#[test]
fn with_too_many_clients_to_list_none_is_left_out() {
    let (journal, policy) = (Journal::new(1 << 30), policy("3/minute"));
    let many = MOST_LISTED as u32 + 10;
    for number in 0..many {
        drop(journal.arrive(&policy, client(number), entry(1)));
    }
    for _ in 0..2 {
        let backlog = journal.listed(at(2));
        assert_eq!(backlog.len(), many as usize, "also if it was not written");
    }
    for backlog in journal.listed(at(2)) {
        journal.has_written(&backlog);
    }
    assert!(journal.listed(at(3)).is_empty());
}

#[test]
fn times_from_before_redis_was_reached_move_with_the_clock() {
    let (journal, policy) = (journal(), policy("3/minute"));
    let early = LogEntry {
        at: LogTime::from_micros(5),
        member: 1,
    };
    drop(journal.arrive(&policy, client(1), early));
    journal.shift(at(0).as_micros());
    assert_eq!(journal.listed(at(6))[0].entries[0].at, at(5));
}

#[test]
fn what_redis_cannot_take_in_is_kept_and_given_to_it_when_it_can() {
    let (journal, policy) = (journal(), policy("2/minute"));
    for micros in [1, 2] {
        let pending = journal.arrive(&policy, client(1), entry(micros));
        let pending = pending.continue_value().expect("Redis has to decide");
        pending.bar_client();
        assert!(pending.alone(1).admitted);
    }
    assert!(journal.listed(at(3)).is_empty());
    assert_eq!(journal.unwritten().flatten().count(), 0);
    let next = journal.arrive(&policy, client(1), entry(3));
    let mut next = next.continue_value().expect("Redis has to decide");
    assert_eq!(next.earlier().len(), 2);
    assert!(next.answered(next.entry(), refusal(&policy)));
    drop(next);
    assert!(is_refused(&journal, &policy, client(1), 4));
    assert_eq!(journal.listed(at(5)).len(), 1);
}
