//! Redis, the way to it, or a node is away for less than a window.

use std::time::Duration;

use testkit::{Proxy, Redis};
use tokio::time::sleep;

use super::{
    row::{Findings, row},
    setup::{NODES, Setup},
};
use crate::cluster::figures::undisturbed_timeout;

/// A Redis that can be made to stand still.
async fn redis() -> Redis {
    Redis::start_with(&["--enable-debug-command", "yes"]).await
}

pub async fn nothing_happens(setup: &Setup) {
    let redis = redis().await;
    let fleet = setup.start(&redis.url()).await;
    let findings = row("nothing, short windows", &fleet, async |_| {}).await;
    findings.assert_exact();
}

/// Redis decides each request. So all verdicts have to hold, on a busy machine too.
pub async fn nothing_happens_and_nodes_are_patient(setup: &Setup) {
    let redis = redis().await;
    let fleet = patient(setup).start(&redis.url()).await;
    let fault = "nothing, short windows, nodes wait for 10 s";
    let findings = row(fault, &fleet, async |_| {}).await;
    findings.assert_unnoticed_by("all clients", |_| false);
    findings.assert_exact();
}

pub async fn redis_stands_still_once(setup: &Setup) {
    let redis = redis().await;
    let fleet = setup.start(&redis.url()).await;
    let findings = row("Redis stands still for 150 ms", &fleet, async |_| {
        redis.command::<String>("DEBUG SLEEP 0.15").await;
    })
    .await;
    findings.assert_exact();
}

pub async fn redis_stands_still_again_and_again(setup: &Setup) {
    let redis = redis().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "Redis stands still for 150 ms, six times";
    let findings = row(fault, &fleet, async |_| {
        for pause in [250, 50, 150, 350, 100, 200] {
            redis.command::<String>("DEBUG SLEEP 0.15").await;
            sleep(Duration::from_millis(pause)).await;
        }
    })
    .await;
    findings.assert_exact();
}

pub async fn connections_are_killed(setup: &Setup) {
    let redis = redis().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "all connections to Redis are closed, twelve times";
    let findings = row(fault, &fleet, async |_| {
        for _ in 0..12 {
            let ended: usize = redis.command("CLIENT KILL TYPE normal").await;
            assert!(ended > 0);
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    findings.assert_exact();
}

pub async fn nodes_stand_still_one_after_another(setup: &Setup) {
    let redis = redis().await;
    let fleet = setup.start(&redis.url()).await;
    let fault = "each node stands still for 120 to 250 ms, three times";
    let findings = row(fault, &fleet, async |load| {
        for pauses in [[120, 250, 180], [250, 120, 140], [200, 220, 250]] {
            for (node, pause) in pauses.into_iter().enumerate() {
                let pause = Duration::from_millis(pause);
                load.stops(&fleet, node, pause).await;
            }
        }
    })
    .await;
    findings.assert_exact();
}

pub async fn the_way_to_redis_is_slow(setup: &Setup) {
    let fault = "the way to Redis takes 20 to 60 ms, for two seconds";
    // Through the proxy, an answer takes longer on a busy machine: there, everything is three times as slow.
    let findings = if undisturbed_timeout().is_some() {
        slow_way(fault, setup, 1).await
    } else {
        let setup = Setup {
            timeout: Some("300ms"),
            ..setup.clone()
        };
        slow_way(fault, &setup, 3).await
    };
    findings.assert_exact();
}

/// Redis decides each request, in another order than the requests came.
pub async fn the_way_to_redis_is_slow_and_nodes_are_patient(setup: &Setup) {
    let fault = "the same, nodes wait for 10 s";
    let findings = slow_way(fault, &patient(setup), 1).await;
    findings.assert_unnoticed_by("all clients", |_| false);
    findings.assert_exact();
}

/// The way takes `times` 20 to 60 ms.
async fn slow_way(fault: &str, setup: &Setup, times: u32) -> Findings {
    let redis = redis().await;
    let mut proxies = Vec::new();
    for _ in 0..NODES {
        proxies.push(Proxy::start(redis.port()).await);
    }
    let urls: Vec<String> = proxies
        .iter()
        .map(|proxy| format!("redis://{}", proxy.address()))
        .collect();
    let fleet = setup.start_each([&urls[0], &urls[1], &urls[2]]).await;
    row(fault, &fleet, async |_| {
        for proxy in &proxies {
            let [least, most] = [20, 60].map(Duration::from_millis);
            proxy.delay(least * times..most * times);
        }
        sleep(Duration::from_secs(2)).await;
        for proxy in &proxies {
            proxy.delay(Duration::ZERO..Duration::ZERO);
        }
    })
    .await
}

/// Nodes that wait for Redis for longer than a busy machine stalls.
fn patient(setup: &Setup) -> Setup {
    Setup {
        timeout: Some("10s"),
        ..setup.clone()
    }
}
