//! The model test: on every schedule, the stores decide as the specification does.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use shunt::limiter::{Decision, LogTime, MemoryStore, Policy, Quota, WindowStore};
use testkit::{Redis, needs};
use tokio::runtime::Runtime;

use super::{client, redis_store};

/// The specification, word for word: every request is logged. It is admitted iff at most L entries, its own included,
/// lie in (t − W, t]. The L-th newest entry decides when a refused client is admitted again.
struct Oracle {
    limit: usize,
    window: i64,
    arrivals: HashMap<u32, Vec<i64>>,
}

impl Oracle {
    fn decide(&mut self, client: u32, now: i64) -> (bool, u32, i64) {
        let log = self.arrivals.entry(client).or_default();
        log.push(now);
        specification(self.limit, self.window, log, now)
    }
}

/// For a request at `now` that is in `log`: whether it is admitted, how many more would be admitted, and how long until
/// more would be, in µs.
pub fn specification(limit: usize, window: i64, log: &[i64], now: i64) -> (bool, u32, i64) {
    let counting: Vec<i64> = log.iter().copied().filter(|&t| t > now - window).collect();
    let over = counting.len().saturating_sub(limit);
    let remaining = limit.saturating_sub(counting.len());
    (over == 0, remaining as u32, counting[over] + window - now)
}

/// A request: its client, how long it comes after the one before (µs), its node.
type Step = (u32, i64, usize);

#[derive(Debug, Clone)]
struct Schedule {
    quota: Quota,
    steps: Vec<Step>,
}

const NODES: usize = 3;

fn schedules() -> impl Strategy<Value = Schedule> {
    // Long windows, because keys expire by Redis's real clock, and the schedule's clock is faster.
    (1..6_u32, 60..120_u64).prop_flat_map(|(limit, seconds)| {
        let window = i64::try_from(seconds * 1_000_000).expect("small");
        let pause = prop_oneof![
            4 => Just(0),
            4 => 1..window / 4,
            2 => Just(window / i64::from(limit)),
            1 => (window - 1)..=(window + 1),
            1 => window..window * 2,
        ];
        let steps = prop::collection::vec((0..3_u32, pause, 0..NODES), 1..60);
        steps.prop_map(move |steps| Schedule {
            quota: Quota::new(limit, Duration::from_secs(seconds)).expect("a quota"),
            steps,
        })
    })
}

/// Runs a schedule on the nodes and compares every answer with the oracle's. Returns the number of its first client.
async fn follow(nodes: &[&dyn WindowStore], schedule: &Schedule) -> Result<u32, TestCaseError> {
    // Clients that no other schedule has.
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let base = CLIENTS.fetch_add(3, Ordering::Relaxed);

    let policy = Policy::default_policy(schedule.quota);
    let mut oracle = Oracle {
        limit: schedule.quota.limit() as usize,
        window: i64::try_from(schedule.quota.window().as_micros()).expect("small"),
        arrivals: HashMap::new(),
    };
    let mut now = 1_800_000_000_000_000;
    for &(who, pause, node) in &schedule.steps {
        now += pause;
        let (admitted, remaining, reset) = oracle.decide(who, now);
        let expected = Decision {
            admitted,
            remaining,
            reset_after: Duration::from_micros(u64::try_from(reset).expect("positive")),
        };
        let store = nodes[node % nodes.len()];
        let decision = store
            .record_at(&policy, client(base + who), LogTime::from_micros(now))
            .await
            .expect("a decision");
        prop_assert_eq!(decision, expected, "client {} at {}", who, now);
        let retry_after = decision.reset_seconds();
        prop_assert!(
            Duration::from_secs(retry_after) >= decision.reset_after,
            "never early"
        );
        prop_assert!(
            retry_after * 1_000_000 < reset as u64 + 1_000_000,
            "rounded up once"
        );
    }
    Ok(base)
}

/// However many requests a client has made, only those that can change a decision are kept.
async fn assert_bounded(
    redis: &Redis,
    first_client: u32,
    schedule: &Schedule,
) -> Result<(), TestCaseError> {
    for who in 0..3 {
        let key = format!("rate_limit:{}", Ipv4Addr::from_bits(first_client + who));
        let logged = redis.logged(&key).await.len();
        prop_assert!(logged <= schedule.quota.limit() as usize + 1, "{}", logged);
    }
    Ok(())
}

#[test]
fn the_memory_store_decides_as_the_model_does() {
    let runtime = Runtime::new().expect("a runtime");
    let store = MemoryStore::new(64 << 20);
    proptest!(ProptestConfig::with_cases(512), |(schedule in schedules())| {
        runtime.block_on(follow(&[&store], &schedule))?;
    });
}

#[test]
fn three_nodes_on_one_redis_decide_as_the_model_does() {
    needs!("redis-server");
    let runtime = Runtime::new().expect("a runtime");
    let redis = runtime.block_on(Redis::start());
    // The last one is connected by the client library.
    let kinds: [&str; NODES] = ["", "", "?protocol=resp3"];
    let nodes = kinds.map(|kind| {
        let url = format!("{}{kind}", redis.url());
        runtime.block_on(redis_store(&url))
    });
    let nodes: Vec<&dyn WindowStore> = nodes.iter().map(|n| n as &dyn WindowStore).collect();
    proptest!(ProptestConfig::with_cases(256), |(schedule in schedules())| {
        let first_client = runtime.block_on(follow(&nodes, &schedule))?;
        runtime.block_on(assert_bounded(&redis, first_client, &schedule))?;
    });
}
