//! Each test does one thing to a cluster under load, and is a row of the table of faults that `make faults` prints.

use std::time::Duration;

use rustix::process::Signal;
use testkit::{Cluster, Proxy, eventually, needs};

use super::figures::{
    Figures, HAMMERS, QUOTA, WRITERS, cluster, cluster_that_loses_postgres,
    cluster_that_loses_redis, under_load, under_load_of,
};

/// Checks that no request failed, and that every status is one that its client may get.
fn assert_no_failure(figures: &Figures) {
    assert_eq!(figures.reads.failed(), 0, "{:?}", figures.reads);
    assert_eq!(figures.writes.failed(), 0, "{:?}", figures.writes);
    assert_eq!(figures.hammers.failed(), 0, "{:?}", figures.hammers);
    assert_only_expected(figures);
}

fn assert_only_expected(figures: &Figures) {
    for (seen, expected) in [
        (&figures.reads, &[302, 502, 503][..]),
        (&figures.writes, &[200, 502, 503]),
        (&figures.hammers, &[200, 429, 502, 503]),
    ] {
        let unexpected = seen
            .statuses
            .keys()
            .find(|status| !expected.contains(status));
        assert_eq!(unexpected, None, "{seen:?}");
    }
}

async fn breakers_are(cluster: &Cluster, open: bool) -> bool {
    for node in &cluster.nodes {
        let state = node.metric("shunt_limiter_breaker_open", &[]).await;
        if state != f64::from(u8::from(open)) {
            return false;
        }
    }
    true
}

async fn every_node_is_ready(cluster: &Cluster) -> bool {
    for node in &cluster.nodes {
        if node.probe().get("/readyz?strict").await.status != 200 {
            return false;
        }
    }
    true
}

async fn always(_: &Cluster) -> bool {
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens() {
    needs!("redis-server", "postgres", "nginx");
    let figures = under_load("nothing", &mut cluster(2).await, async |_| {}, always).await;
    assert_no_failure(&figures);
    assert_eq!(figures.over_admitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed() {
    needs!("redis-server", "postgres", "nginx");
    let kill = async |cluster: &mut Cluster| {
        cluster.nodes[0].kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.start_node(0).await;
    };
    let figures = under_load(
        "a node of three is killed",
        &mut cluster(3).await,
        kill,
        every_node_is_ready,
    )
    .await;
    assert_eq!(
        figures.reads.failed(),
        0,
        "nginx sends each GET to another node: {:?}",
        figures.reads
    );
    assert!(
        figures.writes.failed() <= usize::from(WRITERS),
        "only requests that the node had received: {:?}",
        figures.writes
    );
    assert_only_expected(&figures);
    assert_eq!(figures.over_admitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_restarted_in_turn() {
    needs!("redis-server", "postgres", "nginx");
    let roll = async |cluster: &mut Cluster| {
        for number in 0..cluster.nodes.len() {
            cluster.nodes[number].signal(Signal::TERM);
            assert_eq!(cluster.nodes[number].exit_code().await, 0);
            cluster.start_node(number).await;
            let node = &cluster.nodes[number];
            eventually("the node is ready", async || {
                (node.probe().get("/readyz?strict").await.status == 200).then_some(())
            })
            .await;
            // nginx leaves a node alone for a second after it failed. A roll-out waits for that.
            eventually("nginx sends it requests", async || {
                let answered = node.metric("shunt_http_requests_total", &[]).await;
                (answered > 0.0).then_some(())
            })
            .await;
        }
    };
    let figures = under_load(
        "every node is restarted in turn",
        &mut cluster(2).await,
        roll,
        every_node_is_ready,
    )
    .await;
    assert_no_failure(&figures);
    assert_eq!(figures.over_admitted, 0);
}

/// Redis goes away and comes back, with its data or without.
async fn redis_fault(
    fault: &str,
    harm: impl AsyncFnOnce(&mut Cluster),
    heal: impl AsyncFnOnce(&mut Cluster),
) {
    let harm_and_heal = async |cluster: &mut Cluster| {
        harm(cluster).await;
        eventually("all nodes notice", async || {
            breakers_are(cluster, true).await.then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        heal(cluster).await;
    };
    let closed = async |cluster: &Cluster| breakers_are(cluster, false).await;
    let mut cluster = cluster_that_loses_redis(2).await;
    let figures = under_load(fault, &mut cluster, harm_and_heal, closed).await;
    assert_no_failure(&figures);
    assert_eq!(figures.over_admitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_frozen_and_thawed() {
    needs!("redis-server", "postgres", "nginx");
    redis_fault(
        "Redis is frozen for a second",
        async |cluster| cluster.redis.freeze(),
        async |cluster| cluster.redis.thaw(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_started_again() {
    needs!("redis-server", "postgres", "nginx");
    redis_fault(
        "Redis is killed and started again, empty",
        async |cluster| cluster.redis.kill(),
        async |cluster| cluster.redis.restart().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_restarted() {
    needs!("redis-server", "postgres", "nginx");
    let restart = async |cluster: &mut Cluster| {
        cluster.postgres.kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.postgres.restart().await;
    };
    let mut cluster = cluster_that_loses_postgres(2).await;
    let figures = under_load(
        "Postgres is killed and started again",
        &mut cluster,
        restart,
        every_node_is_ready,
    )
    .await;
    let stored = cluster.database.number("SELECT count(*) FROM urls").await;
    let acknowledged = figures.writes.count(200);
    assert!(
        stored as usize >= acknowledged,
        "{acknowledged} were promised, {stored} are there"
    );

    assert_only_expected(&figures);
    assert_eq!(figures.reads.broken, [] as [&str; 0]);
    assert_eq!(figures.writes.broken, [] as [&str; 0]);
    assert_eq!(figures.hammers.failed(), 0, "what needs no database works");
    assert_eq!(figures.over_admitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_reloaded() {
    needs!("redis-server", "postgres", "nginx");
    let reload = async |cluster: &mut Cluster| {
        for _ in 0..3 {
            let before = cluster.nginx.workers();
            cluster.nginx.reload();
            eventually("other workers have taken over", async || {
                let now = cluster.nginx.workers();
                (!now.is_empty() && now.is_disjoint(&before)).then_some(())
            })
            .await;
        }
    };
    // When nginx reloads, it closes idle connections, and a client that sends on one at that moment has to send again.
    // nginx never rejects a new connection.
    let figures = under_load_of(
        "nginx is reloaded three times",
        &mut cluster(2).await,
        Cluster::forgetful_client_at,
        reload,
        always,
    )
    .await;
    assert_no_failure(&figures);
    assert_eq!(figures.over_admitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_cut_off_from_redis() {
    needs!("redis-server", "postgres", "nginx");
    let mut cluster = cluster_that_loses_redis(2).await;
    let proxy = Proxy::start(cluster.redis.port()).await;
    let through_proxy = format!("redis://{}", proxy.address());
    cluster.builders[0] = cluster.builders[0].clone().set("redis.url", &through_proxy);
    cluster.nodes[0].kill();
    cluster.start_node(0).await;

    let cut = async |cluster: &mut Cluster| {
        proxy.cut();
        cluster.nodes[0].breaker_is(true).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let other = cluster.nodes[1].metric("shunt_limiter_decisions_total", &["source=\"local\""]);
        assert_eq!(other.await, 0.0, "the other node is not affected");
        proxy.mend();
    };
    let closed = async |cluster: &Cluster| breakers_are(cluster, false).await;
    let figures = under_load(
        "one node of two is cut off from Redis",
        &mut cluster,
        cut,
        closed,
    )
    .await;
    assert_no_failure(&figures);
    // What a node that is cut off alone cannot know: its half of each hammer's quota.
    let most = usize::from(HAMMERS) * QUOTA / 2;
    assert!(figures.over_admitted <= most, "{}", figures.over_admitted);
}
