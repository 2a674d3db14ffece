//! What Redis holds.

use std::{
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use shunt::limiter::{LogTime, WindowStore};
use testkit::{Fate, RawConnection, Redis, Wire, eventually, needs};

use super::{client, policy, redis_store, redis_store_with};

const CLIENT: u32 = 0x0a00_0001; // 10.0.0.1
const KEY: &str = "rate_limit:10.0.0.1";

/// Ends of URLs: a lean connection, and one of the client library.
const KINDS: [&str; 2] = ["", "?protocol=resp3"];

#[tokio::test]
async fn a_key_never_holds_more_than_one_entry_over_the_limit() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let store = redis_store(&redis.url()).await;
    let policy = policy("10/minute");
    for round in 0..500 {
        store
            .record(&policy, client(CLIENT))
            .await
            .expect("a decision");
        if round % 50 == 49 {
            assert_eq!(redis.command::<u32>(&format!("ZCARD {KEY}")).await, 11);
        }
    }
}

#[tokio::test]
async fn entries_stay_compact_and_distinct() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = [
        redis_store(&redis.url()).await,
        redis_store(&redis.url()).await,
    ];
    let policy = policy("10/minute");
    let now = nodes[0].now();
    for step in 0..11 {
        let node = &nodes[step % 2];
        node.record_at(&policy, client(CLIENT), now)
            .await
            .expect("a decision");
    }
    let encoding: String = redis.command(&format!("OBJECT ENCODING {KEY}")).await;
    assert_eq!(encoding, "listpack");
    let bytes: u32 = redis.command(&format!("MEMORY USAGE {KEY}")).await;
    assert!(bytes <= 300, "{bytes} bytes for 11 entries");
    let members: Vec<(i64, f64)> = redis
        .command(&format!("ZRANGE {KEY} 0 -1 WITHSCORES"))
        .await;
    assert_eq!(members.len(), 11, "one instant, two nodes, eleven members");
    assert!(
        members
            .iter()
            .all(|&(_, score)| score == now.as_micros() as f64)
    );
}

/// Members are short and random, so they may collide. A collision must not swallow a request.
#[tokio::test]
async fn a_member_that_is_taken_is_replaced() {
    needs!("redis-server");
    static NEXT: AtomicI32 = AtomicI32::new(0);
    let redis = Redis::start().await;
    // 0, 0, 1, 1, 2, 2, …
    let store = redis_store(&redis.url())
        .await
        .with_members(|| NEXT.fetch_add(1, Ordering::Relaxed) / 2);
    let policy = policy("10/minute");
    let mut admitted = 0;
    for _ in 0..30 {
        let decision = store
            .record(&policy, client(CLIENT))
            .await
            .expect("a decision");
        admitted += u32::from(decision.admitted);
    }
    assert_eq!(admitted, 10);
    assert!(NEXT.load(Ordering::Relaxed) > 30, "some were tried twice");
}

/// A request whose connection breaks is sent again: it counts, and it counts once.
#[tokio::test]
async fn a_request_that_is_lost_on_its_way_there_or_back_is_logged_once() {
    needs!("redis-server");
    for kind in KINDS {
        lost_requests_are_logged_once(kind).await;
    }
}

async fn lost_requests_are_logged_once(kind: &str) {
    let redis = Redis::start().await;
    let wire = Wire::start(redis.port()).await;
    let store = redis_store(&format!("redis://{}{kind}", wire.address())).await;
    let policy = policy("10/minute");
    let mut logged = 0;
    for fate in [Fate::LoseRequest, Fate::LoseAnswer].repeat(5) {
        let made = wire.connections();
        wire.set_all(fate);
        let now = store.now();
        let decision = store.record_at(&policy, client(CLIENT), now).await;
        let decision = decision.expect("a decision");
        logged += 1;
        assert!(wire.connections() > made, "it was lost");
        assert!(decision.admitted);
        assert_eq!(decision.remaining, 10 - logged);
        let log = redis.logged(KEY).await;
        assert_eq!(log.len(), logged as usize, "{fate:?}");
        assert_eq!(log.last(), Some(&now.as_micros()));
    }
    let decision = store.record(&policy, client(CLIENT)).await;
    assert!(!decision.expect("a decision").admitted);
}

/// As when an operator ends all connections while one is being made.
#[tokio::test]
async fn a_connection_that_ends_while_it_is_made_is_made_again() {
    needs!("redis-server");
    for kind in KINDS {
        let redis = Redis::start().await;
        let wire = Wire::start(redis.port()).await;
        let store = redis_store(&format!("redis://{}{kind}", wire.address())).await;
        let policy = policy("10/minute");
        for _ in 0..5 {
            wire.spoil(2);
            wire.set_all(Fate::End);
            let decision = store.record(&policy, client(CLIENT)).await;
            assert!(decision.expect("a decision").admitted);
        }
    }
}

/// Redis stands still, and requests of other nodes wait in its sockets behind this one. When it goes on, its answer to
/// this one does not count them, although they came before the answer.
#[tokio::test]
async fn what_is_answered_late_counts_what_waited_with_it() {
    needs!("redis-server");
    // Long, so that a busy machine does not use up what is left of it.
    const TIMEOUT: Duration = Duration::from_secs(12);
    let redis = Redis::start().await;
    let store = redis_store_with(&redis.url(), TIMEOUT).await;
    let policy = policy("10/minute");
    // Its connection is made.
    let other = client(CLIENT + 1);
    store.record(&policy, other).await.expect("a decision");

    let mut others = RawConnection::open(([127, 0, 0, 1], redis.port()).into()).await;
    redis.freeze();
    let now = store.now().as_micros();
    let before = testkit::unread(redis.port());
    let late = async {
        let decision = store.record(&policy, client(CLIENT)).await;
        decision.expect("a decision")
    };
    let meanwhile = async {
        eventually("the request waits in its socket", async || {
            (testkit::unread(redis.port()) > before).then_some(())
        })
        .await;
        for member in 0..10 {
            let add = format!("ZADD {KEY} {now} {member}\r\n");
            assert!(others.send(add.as_bytes()).await);
        }
        // Later than half of the timeout.
        tokio::time::sleep(TIMEOUT * 7 / 12).await;
        redis.thaw();
    };
    let (decision, ()) = tokio::join!(late, meanwhile);
    assert!(!decision.admitted, "{decision:?}");
    assert_eq!(redis.logged(KEY).await.len(), 11);
}

#[tokio::test]
async fn a_key_expires_with_its_window_after_the_last_request() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let store = redis_store(&redis.url()).await;
    let minute = policy("10/minute");
    store
        .record(&minute, client(CLIENT))
        .await
        .expect("a decision");
    let ttl: i64 = redis.command(&format!("PTTL {KEY}")).await;
    assert!((59_000..=60_000).contains(&ttl), "{ttl} ms");

    let short = policy("10/s");
    let other = client(CLIENT + 1);
    store.record(&short, other).await.expect("a decision");
    assert_eq!(redis.command::<u32>("EXISTS rate_limit:10.0.0.2").await, 1);
    eventually("the key is gone", async || {
        let exists: u32 = redis.command("EXISTS rate_limit:10.0.0.2").await;
        (exists == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_is_in_redis_time() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let store = redis_store(&redis.url()).await;
    let before: (i64, i64) = redis.command("TIME").await;
    let now = store.now();
    let after: (i64, i64) = redis.command("TIME").await;
    let micros = |(seconds, micros): (i64, i64)| seconds * 1_000_000 + micros;
    // Half a round trip on loopback is far shorter, even on a busy machine.
    let slack = Duration::from_millis(20);
    assert!(now + slack >= LogTime::from_micros(micros(before)));
    assert!(now <= LogTime::from_micros(micros(after)) + slack);
}

/// On a plain pipeline, two racing requests could each see the other, and both be refused. In a transaction, Redis runs
/// nothing else between the commands of one request.
#[tokio::test]
async fn a_request_is_one_transaction() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let store = redis_store(&redis.url()).await;
    redis.command::<String>("CONFIG RESETSTAT").await;
    store
        .record(&policy("10/minute"), client(CLIENT))
        .await
        .expect("a decision");
    let stats: String = redis.command("INFO commandstats").await;
    for command in [
        "multi",
        "zadd",
        "zremrangebyscore",
        "zcard",
        "expire",
        "exec",
    ] {
        assert!(
            stats.contains(&format!("cmdstat_{command}:calls=1,")),
            "{command}: {stats}"
        );
    }
    for command in ["ping", "zremrangebyrank"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{stats}");
    }
}

/// Only a client that is over its quota pays for shortening its log.
#[tokio::test]
async fn a_log_that_becomes_too_long_is_shortened_at_once() {
    needs!("redis-server");
    for kind in KINDS {
        a_log_is_shortened(kind).await;
    }
}

async fn a_log_is_shortened(kind: &str) {
    let redis = Redis::start().await;
    let store = redis_store(&format!("{}{kind}", redis.url())).await;
    redis.command::<String>("CONFIG RESETSTAT").await;
    let policy = policy("10/minute");
    for number in 1..=20_u64 {
        let decision = store.record(&policy, client(CLIENT)).await;
        assert_eq!(decision.expect("a decision").admitted, number <= 10);
        assert_eq!(redis.logged(KEY).await.len() as u64, number.min(11));
        let shortened = number.saturating_sub(11);
        assert_eq!(redis.calls("zremrangebyrank").await, shortened);
        assert_eq!(redis.calls("multi").await, number + shortened);
    }
    // Requests that are under way together make it longer, but not for long.
    let flood = (0..64).map(|_| store.record(&policy, client(CLIENT)));
    for decision in join_all(flood).await {
        assert!(!decision.expect("a decision").admitted);
    }
    assert_eq!(redis.logged(KEY).await.len(), 11);
}

/// `ZADD` comes first. A store that counts before it adds would admit both.
#[tokio::test]
async fn two_nodes_racing_for_the_last_slot_admit_exactly_one() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = [
        redis_store(&redis.url()).await,
        redis_store(&redis.url()).await,
    ];
    let policy = policy("1/minute");
    for number in 0..200 {
        let (first, second) = tokio::join!(
            nodes[0].record(&policy, client(number)),
            nodes[1].record(&policy, client(number)),
        );
        let admitted = [first, second].map(|decision| decision.expect("a decision").admitted);
        assert_eq!(
            admitted.iter().filter(|&&a| a).count(),
            1,
            "client {number}"
        );
    }
}
