//! What holds in every run, and what does not without each mend.

use std::{env, thread};

use super::*;

/// How many schedules each group of faults gets in `make test`. Together they are more than 100,000.
const SCHEDULES: u64 = 12_000;

/// After these faults, no client is over-admitted by more than [`Schedule::bound`] allows. Faults on one line may come
/// together.
const GROUPS: [&[Fault]; 9] = [
    &[Fault::ConnectionsEnd],
    &[Fault::RedisCrashes],
    &[Fault::RedisIsReplaced],
    &[Fault::NodeIsCutOff],
    &[Fault::NodeStalls],
    &[Fault::NodeIsKilled],
    &[Fault::NodeStarts],
    &[Fault::OperatorDeletes],
    &[Fault::NodeIsCutOff, Fault::NodeStalls],
];

/// The first of `count` schedules from `seed` on that fails, told as a story.
fn failure(
    (seed, count): (u64, u64),
    faults: &[Fault],
    mends: Mends,
    bound: impl Fn(&Schedule) -> usize,
) -> Option<String> {
    (seed..seed + count).find_map(|seed| {
        let schedule = Schedule::random(seed, faults, Spread::Even);
        judge(&schedule, mends, bound(&schedule))?;
        Some(format!(
            "seed {seed}, {faults:?}:\n{}",
            story(&schedule, mends, &bound)
        ))
    })
}

/// How many seeds a processor tries with each group of faults before it says so.
const REPORTED: u64 = 50_000;

/// Tries `count` schedules from `seed` on with each group of faults. Each processor has its part of them.
fn nothing_fails(seed: u64, count: u64) {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let each = count.div_ceil(threads);
    let failure_in = |part: u64| {
        let (first, end) = (seed + part * each, seed + (part + 1) * each);
        (first..end).step_by(REPORTED as usize).find_map(|seed| {
            let seeds = (seed, REPORTED.min(end - seed));
            let mut groups = GROUPS.iter();
            let story =
                groups.find_map(|faults| failure(seeds, faults, Mends::ALL, Schedule::bound));
            // `make simulate` runs for hours. Whoever stops it can go on from here.
            println!("seeds {first} to {} are tried", seed + seeds.1 - 1);
            story
        })
    };
    let failed: Vec<Option<String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|part| scope.spawn(move || failure_in(part)))
            .collect();
        let failed = workers.into_iter().map(|worker| worker.join());
        failed.map(|story| story.expect("no panic")).collect()
    });
    if let Some(story) = failed.into_iter().flatten().next() {
        panic!("{story}");
    }
}

#[test]
fn nobody_is_over_admitted_and_all_nodes_come_back() {
    nothing_fails(0, SCHEDULES);
}

/// Schedules that are too rare for [`SCHEDULES`]: found by `make simulate`. All connections end twice, the second time
/// while both of a node's are being made anew; a node stands still a second time during the first; a node is cut off, and
/// stands still for longer than a window, while a request of its is on the way to Redis.
#[test]
fn what_was_found_in_a_hundred_million_schedules_stays_mended() {
    let found: [(u64, &[Fault]); 3] = [
        (1_002_196_897, &[Fault::ConnectionsEnd]),
        (1_000_559_136, &[Fault::NodeStalls]),
        (1_001_599_755, &[Fault::NodeIsCutOff, Fault::NodeStalls]),
    ];
    for (seed, faults) in found {
        if let Some(story) = failure((seed, 1), faults, Mends::ALL, Schedule::bound) {
            panic!("{story}");
        }
    }
}

/// `make simulate`: `SIMULATE` schedules, from the seed `SIMULATE_FROM` on. So several machines, or several nights, can
/// have a part each.
#[test]
#[ignore = "takes hours: make simulate"]
fn as_many_schedules_as_the_environment_says() {
    let number = |name, default| -> u64 {
        env::var(name).map_or(default, |count| count.parse().expect("a number"))
    };
    let count = number("SIMULATE", 1_000_000).div_ceil(GROUPS.len() as u64);
    nothing_fails(number("SIMULATE_FROM", 1_000_000_000), count);
}

/// All its requests go to one node, which may have less to give, but never more.
#[test]
fn a_client_that_always_gets_the_same_node_is_not_over_admitted() {
    for seed in 0..3_000 {
        let schedule = Schedule::random(seed, &[Fault::RedisCrashes], Spread::Pinned);
        let violation = judge(&schedule, Mends::ALL, 0);
        assert!(
            violation.is_none(),
            "{}",
            story(&schedule, Mends::ALL, |_| 0)
        );
    }
}

/// A Redis that stands still: a node may take an answer for prompt that came before what other nodes have decided by
/// themselves meanwhile. That is at most their shares.
#[test]
fn a_redis_that_stands_still_costs_the_shares_of_the_other_nodes_at_most() {
    let shares = |schedule: &Schedule| {
        let nodes = schedule.skews.len();
        (nodes - 1) * (schedule.quota.limit() as usize).div_ceil(nodes)
    };
    if let Some(story) = failure((0, SCHEDULES), &[Fault::RedisStalls], Mends::ALL, shares) {
        panic!("{story}");
    }
}

#[test]
fn a_node_that_is_cut_off_alone_admits_its_share_and_the_bound_is_tight() {
    let reaches = |seed: &u64| {
        let schedule = Schedule::random(*seed, &[Fault::NodeIsCutOff], Spread::Even);
        let bound = schedule.bound();
        bound > 1 && judge(&schedule, Mends::ALL, bound - 1).is_some()
    };
    assert!((0..5_000).any(|seed| reaches(&seed)));
}

/// A violation is found soon without a mend. With all of them, the same schedules have none: they are among those of
/// [`nobody_is_over_admitted_and_all_nodes_come_back`].
fn is_needed(faults: &[Fault], without: Mends) {
    assert!(GROUPS.contains(&faults));
    let story = failure((0, 5_000), faults, without, Schedule::bound);
    assert!(story.is_some(), "{without:?} changes nothing");
}

macro_rules! needed {
    ($($name:ident: $mend:ident, $fault:ident;)*) => {$(
        #[test]
        fn $name() {
            is_needed(&[Fault::$fault], Mends { $mend: false, ..Mends::ALL });
        }
    )*};
}

needed! {
    a_node_that_forgets_over_admits: remembers, RedisCrashes;
    nodes_that_do_not_share_over_admit: splits, RedisCrashes;
    without_restoration_an_empty_redis_over_admits: restores, RedisCrashes;
    a_node_that_does_not_wait_for_the_others_over_admits: waits_for_others, RedisCrashes;
    a_node_that_does_not_look_for_losses_over_admits: notices, RedisCrashes;
    a_request_with_two_members_counts_twice: same_member, ConnectionsEnd;
}

/// What a node decides alone while it restores is not in what it restores. Either it writes that as well before others
/// rely on it, or it decides nothing alone meanwhile.
#[test]
fn what_a_node_decides_while_it_restores_counts() {
    let without = Mends {
        restores_again: false,
        cares_early: false,
        ..Mends::ALL
    };
    is_needed(&[Fault::RedisIsReplaced], without);
}

/// The mends that make a gap smaller but do not close it: over-admissions in so many schedules with them, and without.
fn makes_rarer(faults: &[Fault], without: Mends, factor: usize) {
    let count = |mends: Mends| {
        let fails =
            |seed: &u64| judge(&Schedule::random(*seed, faults, Spread::Even), mends, 0).is_some();
        (0..3_000).filter(fails).count()
    };
    let (with, without) = (count(Mends::ALL), count(without));
    assert!(
        factor * with < without * 2,
        "{with} with it, {without} without"
    );
}

#[test]
fn doubt_makes_a_standstill_rarely_matter() {
    makes_rarer(
        &[Fault::RedisStalls],
        Mends {
            doubts: false,
            ..Mends::ALL
        },
        10,
    );
}

#[test]
fn care_makes_a_flush_matter_less() {
    makes_rarer(
        &[Fault::RedisIsFlushed],
        Mends {
            cares_early: false,
            ..Mends::ALL
        },
        3,
    );
}

#[test]
fn what_a_request_brings_makes_a_flush_matter_less() {
    makes_rarer(
        &[Fault::RedisIsFlushed],
        Mends {
            restores_on_request: false,
            ..Mends::ALL
        },
        2,
    );
}
