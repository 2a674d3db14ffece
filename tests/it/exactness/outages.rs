//! Redis is away or has lost its data; a node is away for long, or cut off.

use std::time::Duration;

use testkit::{Proxy, Redis};
use tokio::time::sleep;

use super::{
    checker::Outcome,
    load::Load,
    row::row,
    setup::{NODES, Setup, micros},
};

/// How long clients may use what is left of their quotas before the fault goes on.
const A_MOMENT: Duration = Duration::from_millis(300);

pub async fn redis_is_frozen_and_thawed(setup: &Setup) {
    let redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "Redis is frozen when clients have used 6 of 10, for 1.2 s";
    let findings = row(fault, &fleet, async |_| {
        redis.freeze();
        sleep(Duration::from_millis(1200)).await;
        redis.thaw();
    })
    .await;
    findings.assert_exact();
}

pub async fn redis_comes_back_empty(setup: &Setup) {
    let mut redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "Redis is killed and back at once, empty";
    let findings = row(fault, &fleet, async |_| {
        sleep(A_MOMENT).await;
        redis.kill();
        redis.restart().await;
    })
    .await;
    findings.assert_exact();
}

pub async fn redis_comes_back_from_an_old_snapshot(setup: &Setup) {
    let mut redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "Redis is killed and back from an old snapshot";
    let findings = row(fault, &fleet, async |_| {
        redis.command::<String>("SAVE").await;
        sleep(A_MOMENT).await;
        redis.kill();
        sleep(A_MOMENT).await;
        redis.restart().await;
        let held: u32 = redis.command("DBSIZE").await;
        assert!(held > 0, "it has the snapshot");
    })
    .await;
    findings.assert_exact();
}

pub async fn everything_is_flushed(setup: &Setup) {
    let redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let findings = row(
        "everything in Redis is deleted, twice",
        &fleet,
        async |_| {
            for _ in 0..2 {
                sleep(A_MOMENT).await;
                redis.command::<String>("FLUSHALL").await;
            }
        },
    )
    .await;
    findings.assert_exact();
}

pub async fn a_node_stands_still_for_longer_than_a_window(setup: &Setup) {
    let redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "a node stands still for longer than a window";
    let findings = row(fault, &fleet, async |load| {
        let pause = load.setup.window() + A_MOMENT;
        load.stops(&fleet, 1, pause).await;
    })
    .await;
    findings.assert_exact();
}

pub async fn one_node_alone_is_cut_off(setup: &Setup) {
    let setup = Setup {
        // Through the proxy, an answer takes longer on a busy machine.
        timeout: Some("500ms"),
        ..setup.clone().stretched(2)
    };
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let through_proxy = format!("redis://{}", proxy.address());
    let url = redis.url();
    let fleet = setup.start_each([&through_proxy, &url, &url]).await;
    let fault = "one node of three is cut off from Redis";
    let findings = row(fault, &fleet, async |_| {
        proxy.cut();
        fleet.nodes[0].breaker_is(true).await;
        sleep(Duration::from_secs(1)).await;
        proxy.mend();
    })
    .await;
    findings.assert_exact_but_for_one_node();
}

/// An operator deletes the log of a client that is quiet.
pub async fn an_operator_resets_a_client(setup: &Setup) {
    /// Longer than any node waits before it writes to Redis what it has to.
    const A_WHILE: Duration = Duration::from_secs(1);
    let setup = Setup {
        // It is no outage, on a busy machine either.
        timeout: Some("5s"),
        ..setup.clone().stretched(6)
    };
    let redis = Redis::start().await;
    let fleet = setup.start(&redis.url()).await;
    let limit = setup.limit();
    let load = Load::quiet(&fleet);
    let subject = load.subject("reset");
    let admitted = async |requests: usize| {
        let mut admitted = 0;
        for number in 0..requests {
            let outcome = load.ask(subject, number % NODES).await;
            admitted += usize::from(outcome == Outcome::Admitted);
        }
        admitted
    };
    assert_eq!(admitted(limit + 5).await, limit);
    // Until no node refuses this client by itself, nor has anything left to tell Redis of it.
    sleep(A_WHILE).await;
    assert_eq!(admitted(1).await, 0, "still refused");

    let keys: Vec<String> = setup
        .policies
        .iter()
        .map(|(name, ..)| match *name {
            "default" => format!("rate_limit:{}", subject.address),
            name => format!("rate_limit:{name}:{}", subject.address),
        })
        .collect();
    let at = redis.now().await;
    for key in &keys {
        assert_eq!(
            redis.command::<u32>(&format!("DEL {key}")).await,
            1,
            "{key}"
        );
    }
    assert_eq!(admitted(limit + 5).await, limit, "a new quota");
    sleep(A_WHILE).await;
    for key in &keys {
        let log = redis.logged(key).await;
        let first = at - micros(setup.clock_error);
        assert!(
            log.iter().all(|&time| time >= first),
            "from before {at}: {log:?}"
        );
    }
    assert_eq!(admitted(1).await, 0, "used up again");
    assert_eq!(fleet.local().await.all, 0.0, "it was no outage");
}
