//! A Redis that Sentinels watch: only the background asks them, and all threads use the master that it found.

use std::net::Ipv4Addr;

use deadpool_redis::redis::Value;
use reqwest::Method;
use testkit::{Client, Node, Redis, Traffic, eventually, needs};

use crate::stores::redis_kinds::{self, SentinelGroup};

/// Threads of a node. If each asked the Sentinel, it would see many more connections than the tests allow.
const WORKERS: usize = 16;

/// A node with a connection in common and no others. A busy machine makes no request time out.
async fn node(group: &SentinelGroup) -> Node {
    let node = Node::builder()
        .set("redis.url", &group.url())
        .set("http.workers", &WORKERS.to_string())
        .set("limiter.quota", "1000000/minute")
        .set("limiter.redis.timeout", "10s")
        .start()
        .await;
    has_connections(&node, 1).await;
    node
}

/// Requests, each on a connection of its own, so that every thread gets some.
fn traffic(node: &Node) -> Traffic {
    let clients: Vec<Client> = (1..=4)
        .map(|number| {
            let address = Ipv4Addr::new(127, 0, 23, number);
            Client::without_keep_alive(address.into(), node.address())
        })
        .collect();
    Traffic::start(&clients, |client, _| client.request(Method::GET, "/"))
}

async fn has_connections(node: &Node, expected: usize) {
    eventually("the node has so many connections", async || {
        let connections = node.metric("shunt_redis_connections", &[]).await;
        (connections == expected as f64).then_some(())
    })
    .await;
}

/// How often the node has tried to connect in the background.
async fn reconnects(node: &Node) -> f64 {
    let labels = ["store=\"redis\"", "operation=\"connect\""];
    node.metric("shunt_store_duration_seconds_count", &labels)
        .await
}

/// How many connections a server has accepted, with the one that asks.
async fn accepted(server: &Redis) -> usize {
    let statistics: String = server.command("INFO stats").await;
    let accepted = statistics.lines().find_map(|line| {
        line.strip_prefix("total_connections_received:")?
            .parse()
            .ok()
    });
    accepted.expect("a number")
}

/// How many connections from nodes a server has now. Sentinels give their own connections a name.
async fn from_nodes(server: &Redis) -> usize {
    let clients: String = server.command("CLIENT LIST TYPE normal").await;
    let unnamed = clients.lines().filter(|line| line.contains(" name= "));
    unnamed.count() - 1
}

/// Waits until every thread has a connection to `master`, and so has the background.
async fn all_threads_use(node: &Node, master: &Redis) {
    has_connections(node, 1 + WORKERS).await;
    eventually("all connections lead to the master", async || {
        (from_nodes(master).await == 1 + WORKERS).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sentinels_are_asked_once_however_many_threads_there_are() {
    needs!("redis-server");
    let group = redis_kinds::sentinel().await;
    let node = node(&group).await;
    let accepted_before = accepted(group.sentinel()).await;
    let reconnects_before = reconnects(&node).await;
    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    let ended: usize = group.master().command("CLIENT KILL TYPE normal").await;
    assert!(ended > WORKERS, "{ended}");
    eventually("the node has noticed", async || {
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        (opened.await >= 1.0).then_some(())
    })
    .await;
    all_threads_use(&node, group.master()).await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");

    // On a busy machine, the client library may connect to a Sentinel a second time, which it takes for gone.
    let reconnects = reconnects(&node).await - reconnects_before;
    let asks = 1;
    let accepted = accepted(group.sentinel()).await - accepted_before - asks;
    assert!(
        accepted as f64 <= 2.0 * reconnects,
        "{accepted} connections to the Sentinel; the node has reconnected {reconnects} times"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_connection_in_common_works_no_thread_uses_another_master() {
    needs!("redis-server");
    let group = redis_kinds::sentinel().await;
    let other = Redis::start().await;
    let node = node(&group).await;
    group.names(&other).await;
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]).await;

    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    let decided = other.calls("zadd").await;
    traffic.stop().await;
    let now = node.metric("shunt_limiter_breaker_opened_total", &[]).await;
    assert_eq!(now, opened, "the node had no reason to ask the Sentinel");
    assert_eq!(decided, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_all_threads_use_the_new_master() {
    needs!("redis-server");
    let mut group = redis_kinds::sentinel().await;
    let port = group.master().port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica is in step", async || {
        let replication: String = replica.command("INFO replication").await;
        replication.contains("master_link_status:up").then_some(())
    })
    .await;
    // When a Sentinel begins to watch a master, it asks at once for the replicas; later only every ten seconds.
    group.names(group.master()).await;
    group
        .sentinel()
        .command::<Value>("SENTINEL SET mymaster down-after-milliseconds 2000")
        .await;
    eventually("the sentinel knows the replica", async || {
        let replicas: Vec<Value> = group.sentinel().command("SENTINEL REPLICAS mymaster").await;
        (replicas.len() == 1).then_some(())
    })
    .await;

    let node = node(&group).await;
    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    group.master_mut().kill();
    group.name_becomes(&replica).await;
    all_threads_use(&node, &replica).await;
    let by_redis = ["source=\"redis\""];
    let decided = node
        .metric("shunt_limiter_decisions_total", &by_redis)
        .await;
    traffic.answers(200).await;
    let now = node
        .metric("shunt_limiter_decisions_total", &by_redis)
        .await;
    assert!(now >= decided + 200.0, "from {decided} to {now}");
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    assert!(replica.calls("zadd").await > 0);
}
