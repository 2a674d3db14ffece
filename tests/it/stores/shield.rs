//! The flood shield over several nodes, on every schedule: no request is refused that Redis alone would admit. A
//! request that Redis alone would refuse is admitted only if its node has not learned yet what other nodes have
//! refused, and only if the window is not longer than three write-back intervals.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use shunt::{
    limiter::{JournaledRedis, LogTime, Policy, Quota, Source},
    telemetry::Metrics,
};
use testkit::{Redis, needs};
use tokio::runtime::Runtime;

use super::{client, model::specification, redis_store};

const NODES: usize = 3;
const CLIENTS: u32 = 2;

/// A request: its client, how long it comes after the one before (µs), its node.
type Step = (u32, i64, usize);

#[derive(Clone, Debug)]
struct Schedule {
    quota: Quota,
    steps: Vec<Step>,
}

/// Schedules for a write-back `interval` in µs.
fn schedules(interval: i64) -> impl Strategy<Value = Schedule> {
    // Long windows, because keys expire by Redis's real clock, and the schedule's clock is faster.
    (1..6_u32, 60..120_u64).prop_flat_map(move |(limit, seconds)| {
        let window = i64::try_from(seconds * 1_000_000).expect("small");
        let pause = prop_oneof![
            3 => Just(0),
            6 => 1..interval / 4,
            6 => interval / 4..interval * 2,
            1 => interval * 2 - 1..=interval * 2 + 1,
            1 => interval * 2..interval * 4,
            1 => Just(window / i64::from(limit)),
            1 => (window - interval * 2).max(0)..=window + 1,
            1 => Just(window),
            1 => window..window * 2,
        ];
        let steps = prop::collection::vec((0..CLIENTS, pause, 0..NODES), 1..120);
        steps.prop_map(move |steps| Schedule {
            quota: Quota::new(limit, Duration::from_secs(seconds)).expect("a quota"),
            steps,
        })
    })
}

/// A request that was made, and the node that has not told Redis of it yet, if any.
struct Arrival {
    client: u32,
    at: i64,
    admitted: bool,
    kept_by: Option<usize>,
}

/// How often each case came up. Schedules in which it never does prove nothing about it.
#[derive(Debug, Default)]
struct Seen {
    shielded: usize,
    asked_with_backlog: usize,
    admitted_for_ignorance: usize,
}

struct Nodes {
    nodes: Vec<JournaledRedis>,
    /// In µs.
    interval: i64,
    next_write_back: i64,
}

impl Nodes {
    async fn start(redis: &Redis, interval: i64) -> Self {
        let metrics = Metrics::new().expect("metrics");
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let metrics = metrics.store("redis");
            let store = redis_store(&redis.url()).await;
            let node = JournaledRedis::new(store, 64 << 20, micros(interval), metrics);
            nodes.push(node.with_shield());
        }
        Self {
            nodes,
            interval,
            next_write_back: 0,
        }
    }

    /// Lets all nodes write back as often as the program does, until `now`.
    async fn write_back_until(&mut self, now: i64, arrivals: &mut [Arrival]) {
        while self.next_write_back <= now {
            for node in &self.nodes {
                let at = LogTime::from_micros(self.next_write_back);
                node.write_back(at).await.expect("a write");
            }
            for arrival in arrivals.iter_mut() {
                arrival.kept_by = None;
            }
            // Skips the intervals of a long silence, which have nothing to write.
            self.next_write_back = now.max(self.next_write_back) + self.interval;
        }
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).expect("positive"))
}

async fn follow(
    nodes: &mut Nodes,
    schedule: &Schedule,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    // Clients that no other schedule has.
    static BASE: AtomicU32 = AtomicU32::new(0);
    let base = BASE.fetch_add(CLIENTS, Ordering::Relaxed);

    let policy = Policy::default_policy(schedule.quota);
    let limit = schedule.quota.limit() as usize;
    let window = i64::try_from(schedule.quota.window().as_micros()).expect("small");
    let mut arrivals: Vec<Arrival> = Vec::new();
    let mut now = 1_800_000_000_000_000;
    nodes.next_write_back = now + nodes.interval;
    for &(who, pause, node) in &schedule.steps {
        now += pause;
        nodes.write_back_until(now, &mut arrivals).await;
        let before = |visible: fn(&Arrival, usize) -> bool| {
            let of_client = arrivals.iter().filter(|arrival| arrival.client == who);
            let mut log: Vec<i64> = of_client
                .filter(|arrival| visible(arrival, node))
                .map(|arrival| arrival.at)
                .collect();
            log.push(now);
            log
        };
        let plain = specification(limit, window, &before(|_, _| true), now);
        let visible = before(|arrival, node| arrival.kept_by.is_none_or(|keeper| keeper == node));
        let visible = specification(limit, window, &visible, now);
        let own_backlog = arrivals
            .iter()
            .any(|arrival| arrival.client == who && arrival.kept_by == Some(node));

        let (decision, source) = nodes.nodes[node]
            .record_at(&policy, client(base + who), LogTime::from_micros(now))
            .await
            .expect("a decision");

        prop_assert_eq!(
            decision.admitted,
            visible.0,
            "as with all that this node can know, at {}",
            now
        );
        prop_assert!(
            decision.admitted || !plain.0,
            "refused, but admitted without the shield, at {now}"
        );
        let reset = i64::try_from(decision.reset_after.as_micros()).expect("small");
        match source {
            Source::Shield => {
                seen.shielded += 1;
                prop_assert!(reset >= plain.2, "early: {reset} for {} at {now}", plain.2);
                prop_assert!(
                    reset <= plain.2 + 2 * nodes.interval,
                    "late: {reset} for {} at {now}",
                    plain.2
                );
                prop_assert_eq!(decision.remaining, 0);
            }
            _ => {
                seen.asked_with_backlog += usize::from(own_backlog);
                prop_assert_eq!(reset, visible.2, "at {}", now);
                prop_assert_eq!(decision.remaining, visible.1, "at {}", now);
            }
        }
        let for_ignorance = decision.admitted && !plain.0;
        seen.admitted_for_ignorance += usize::from(for_ignorance);
        prop_assert!(
            !for_ignorance || window <= 3 * nodes.interval,
            "the window is long enough to be exact, at {now}"
        );
        if source != Source::Shield {
            // With this request, the node also told Redis what it had kept of the client.
            let own = arrivals.iter_mut().filter(|arrival| arrival.client == who);
            for arrival in own.filter(|arrival| arrival.kept_by == Some(node)) {
                arrival.kept_by = None;
            }
        }
        arrivals.push(Arrival {
            client: who,
            at: now,
            admitted: decision.admitted,
            kept_by: (source == Source::Shield).then_some(node),
        });
        let in_window = arrivals
            .iter()
            .filter(|a| a.client == who && a.admitted && a.at > now - window)
            .count();
        prop_assert!(in_window <= limit, "{in_window} admitted at {now}");
    }
    // Leaves nothing to write to the next schedule.
    nodes
        .write_back_until(now + nodes.interval, &mut arrivals)
        .await;
    Ok(())
}

fn run(interval: i64) -> Seen {
    let runtime = Runtime::new().expect("a runtime");
    let redis = runtime.block_on(Redis::start());
    let nodes = RefCell::new(runtime.block_on(Nodes::start(&redis, interval)));
    let seen = RefCell::new(Seen::default());
    proptest!(ProptestConfig::with_cases(768), |(schedule in schedules(interval))| {
        runtime.block_on(follow(&mut nodes.borrow_mut(), &schedule, &mut seen.borrow_mut()))?;
    });
    seen.into_inner()
}

#[test]
fn a_shield_on_three_nodes_decides_as_the_model_does() {
    needs!("redis-server");
    let seen = run(250_000);
    assert!(seen.shielded > 1_000, "{seen:?}");
    assert!(seen.asked_with_backlog > 0, "{seen:?}");
}

/// Long intervals, so that entries leave the window while others wait to be written.
#[test]
fn a_shield_that_writes_back_late_never_admits_too_many_either() {
    needs!("redis-server");
    let seen = run(30_000_000);
    assert!(seen.shielded > 1_000, "{seen:?}");
    assert!(seen.asked_with_backlog > 0, "{seen:?}");
    assert!(seen.admitted_for_ignorance > 0, "{seen:?}");
}
