//! The contract of `WindowStore`.

use std::time::Duration;

use futures_util::future::join_all;
use shunt::limiter::{LogTime, MemoryStore, Policy, WindowStore};
use testkit::{Redis, needs};

use super::{client, policy, redis_kinds, redis_store};

fn at(micros: i64) -> LogTime {
    // Some time in 2027, as Redis counts it.
    LogTime::from_micros(1_800_000_000_000_000 + micros)
}

/// Runs every scenario on every store.
macro_rules! contract {
    ($($scenario:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $scenario() {
                super::$scenario(&super::MemoryStore::new(64 << 20)).await;
            })+
        }
        mod redis {
            $(#[tokio::test] async fn $scenario() {
                super::needs!("redis-server");
                let redis = super::Redis::start().await;
                super::$scenario(&super::redis_store(&redis.url()).await).await;
            })+
        }
        /// On connections of the client library.
        mod redis_resp3 {
            $(#[tokio::test] async fn $scenario() {
                super::needs!("redis-server");
                let redis = super::Redis::start().await;
                let url = format!("{}?protocol=resp3", redis.url());
                super::$scenario(&super::redis_store(&url).await).await;
            })+
        }
        /// As before, in RESP2.
        mod redis_socket {
            $(#[tokio::test] async fn $scenario() {
                super::needs!("redis-server");
                let redis = super::redis_kinds::on_socket().await;
                super::$scenario(&super::redis_store(&redis.url()).await).await;
            })+
        }
        mod redis_cluster {
            $(#[tokio::test] async fn $scenario() {
                super::needs!("redis-server");
                let cluster = super::redis_kinds::cluster().await;
                super::$scenario(&super::redis_store(&cluster.url()).await).await;
            })+
        }
        mod redis_sentinel {
            $(#[tokio::test] async fn $scenario() {
                super::needs!("redis-server");
                let group = super::redis_kinds::sentinel().await;
                super::$scenario(&super::redis_store(&group.url()).await).await;
            })+
        }
    };
}

contract!(
    exactly_the_first_l_are_admitted,
    requests_of_the_same_instant_are_all_counted,
    refused_requests_count_too,
    an_entry_leaves_exactly_one_window_after_it_came,
    a_refused_client_is_admitted_at_the_promised_microsecond,
    clients_and_policies_count_apart,
    a_large_limit_is_exact,
    of_64_at_once_exactly_l_are_admitted,
    the_stores_own_clock_moves_forward,
);

async fn admitted(store: &dyn WindowStore, policy: &Policy, number: u32, micros: i64) -> bool {
    let decision = store.record_at(policy, client(number), at(micros)).await;
    decision.expect("a decision").admitted
}

async fn exactly_the_first_l_are_admitted(store: &dyn WindowStore) {
    let policy = policy("3/minute");
    for (micros, expected, remaining) in [(0, true, 2), (1, true, 1), (2, true, 0), (3, false, 0)] {
        let decision = store.record_at(&policy, client(1), at(micros)).await;
        let decision = decision.expect("a decision");
        assert_eq!(
            (decision.admitted, decision.remaining),
            (expected, remaining),
            "at {micros}"
        );
    }
}

/// If members were times, these requests would overwrite each other.
async fn requests_of_the_same_instant_are_all_counted(store: &dyn WindowStore) {
    let policy = policy("3/minute");
    let mut count = 0;
    for _ in 0..10 {
        count += u32::from(admitted(store, &policy, 1, 5).await);
    }
    assert_eq!(count, 3);
}

async fn refused_requests_count_too(store: &dyn WindowStore) {
    let policy = policy("2/10s");
    let second = 1_000_000;
    for (time, expected) in [
        (0, true),
        (1, true),
        (9, false),  // 0, 1, 9
        (11, true),  // (1, 11]: 9, 11. Entry 1 has just left; 9 was refused and counts.
        (12, false), // 9, 11, 12
        (18, false), // 9, 11, 12, 18
    ] {
        assert_eq!(
            admitted(store, &policy, 1, time * second).await,
            expected,
            "at {time} s"
        );
    }
    // A client that never stops is never admitted again.
    for time in 19..40 {
        assert!(
            !admitted(store, &policy, 1, time * second).await,
            "at {time} s"
        );
    }
    assert!(admitted(store, &policy, 1, 60 * second).await);
}

async fn an_entry_leaves_exactly_one_window_after_it_came(store: &dyn WindowStore) {
    let policy = policy("1/minute");
    let window = 60_000_000;
    assert!(admitted(store, &policy, 1, 0).await);
    assert!(
        !admitted(store, &policy, 1, window - 1).await,
        "the window is (t − W, t]"
    );
    assert!(admitted(store, &policy, 2, 0).await);
    assert!(
        admitted(store, &policy, 2, window).await,
        "an entry at t − W is outside"
    );
}

async fn a_refused_client_is_admitted_at_the_promised_microsecond(store: &dyn WindowStore) {
    let policy = policy("3/minute");
    // Two clients with the same history: one comes a microsecond early.
    let history = [0, 10_000_000, 20_000_000, 30_000_000, 40_000_000];
    let mut promised = Vec::new();
    for number in [1, 2] {
        for time in history {
            let decision = store.record_at(&policy, client(number), at(time)).await;
            let wait = decision.expect("a decision").reset_after.as_micros();
            promised.push(time + i64::try_from(wait).expect("small"));
        }
    }
    // After the fifth request the third newest is that of 20 s.
    assert_eq!(promised[4], 80_000_000);
    assert!(!admitted(store, &policy, 1, promised[4] - 1).await);
    assert!(admitted(store, &policy, 2, promised[4]).await);
}

async fn clients_and_policies_count_apart(store: &dyn WindowStore) {
    let default = policy("1/minute");
    let other = Policy {
        name: "other".parse().expect("a name"),
        quota: default.quota,
    };
    assert!(admitted(store, &default, 1, 0).await);
    assert!(admitted(store, &default, 2, 0).await);
    assert!(admitted(store, &other, 1, 0).await);
    assert!(!admitted(store, &other, 1, 1).await);
}

/// A log that is too long for Redis's compact encoding.
async fn a_large_limit_is_exact(store: &dyn WindowStore) {
    let policy = policy("300/minute");
    let mut count = 0;
    for time in 0..310 {
        count += u32::from(admitted(store, &policy, 1, time).await);
    }
    assert_eq!(count, 300);
}

async fn of_64_at_once_exactly_l_are_admitted(store: &dyn WindowStore) {
    let policy = policy("10/minute");
    for number in 0..20 {
        let requests = (0..64).map(|_| store.record(&policy, client(number)));
        let decisions = join_all(requests).await;
        let admitted = decisions
            .iter()
            .filter(|d| d.as_ref().expect("a decision").admitted);
        assert_eq!(admitted.count(), 10);
    }
}

async fn the_stores_own_clock_moves_forward(store: &dyn WindowStore) {
    // Longer than a busy machine stalls.
    let window = Duration::from_secs(2);
    let policy = policy("1/2s");
    let record = async || store.record(&policy, client(1)).await.expect("a decision");
    assert!(record().await.admitted);
    let refused = record().await;
    assert!(!refused.admitted);
    assert!(refused.reset_after <= window);
    // A store that follows another machine's clock may be some milliseconds behind it.
    tokio::time::sleep(refused.reset_after + Duration::from_millis(50)).await;
    assert!(record().await.admitted);
}
