//! A Redis that Sentinels watch: only the background asks them, and all threads use the master that it found.

use std::{net::Ipv4Addr, time::Instant};

use deadpool_redis::redis::{self, FromRedisValue, Value, cmd};
use reqwest::Method;
use tempfile::NamedTempFile;
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

/// How many requests Redis has decided, and how many the node without it.
async fn decided(node: &Node) -> [f64; 2] {
    let metrics = node.metrics().await;
    ["source=\"redis\"", "source=\"local\""]
        .map(|source| metrics.sum("shunt_limiter_decisions_total", &[source]))
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
    let mut group = redis_kinds::sentinel().await;
    let node = node(&group).await;
    let accepted_before = accepted(group.sentinel()).await;
    let reconnects_before = reconnects(&node).await;
    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    let ended: usize = group.master().command("CLIENT KILL TYPE normal").await;
    assert!(ended > WORKERS, "{ended}");
    all_threads_use(&node, group.master()).await;
    let asks = 1;
    let accepted_since = accepted(group.sentinel()).await - accepted_before - asks;
    assert_eq!(accepted_since, 0, "the threads know where the master is");

    group.master_mut().kill();
    group.master_mut().restart().await;
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
    let asks = 2;
    let accepted = accepted(group.sentinel()).await - accepted_before - asks;
    assert!(
        accepted as f64 <= 2.0 * reconnects,
        "{accepted} connections to the Sentinel; the node has reconnected {reconnects} times"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_sentinels_name_another_master_all_threads_move_to_it() {
    needs!("redis-server");
    let group = redis_kinds::sentinel().await;
    let other = Redis::start().await;
    let node = node(&group).await;
    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    group.names(&other).await;
    all_threads_use(&node, &other).await;
    eventually("no connection is left there", async || {
        (from_nodes(group.master()).await == 0).then_some(())
    })
    .await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_calls_itself_a_replica_is_left() {
    needs!("redis-server");
    let group = redis_kinds::sentinel().await;
    let other = Redis::start().await;
    let node = node(&group).await;
    // No Sentinel tells of it, and no request notices it.
    let sentinel = group.sentinel();
    sentinel.freeze();
    let replicate = format!("REPLICAOF 127.0.0.1 {}", other.port());
    group.master().command::<()>(&replicate).await;
    node.breaker_is(true).await;
    sentinel.thaw();
    group.names(&other).await;
    has_connections(&node, 1).await;
    assert_eq!(from_nodes(&other).await, 1);
}

/// A master, a replica, and three Sentinels that know each other.
struct Group {
    master: Redis,
    replica: Redis,
    sentinels: Vec<(Redis, NamedTempFile)>,
}

impl Group {
    async fn start() -> Self {
        let master = Redis::start().await;
        let replica = redis_kinds::replica(&master).await;
        let port = master.port();
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let file = tempfile::Builder::new()
                .suffix(".conf")
                .tempfile()
                .expect("a file");
            let sentinel = Redis::start_sentinel(&file.path().display().to_string()).await;
            let monitor = format!("SENTINEL MONITOR mymaster 127.0.0.1 {port} 2");
            sentinel.command::<()>(&monitor).await;
            sentinels.push((sentinel, file));
        }
        for (sentinel, _) in &sentinels {
            eventually("they know each other and the replica", async || {
                let others: Vec<Value> = sentinel.command("SENTINEL SENTINELS mymaster").await;
                let replicas: Vec<Value> = sentinel.command("SENTINEL REPLICAS mymaster").await;
                (others.len() == 2 && replicas.len() == 1).then_some(())
            })
            .await;
        }
        Self {
            master,
            replica,
            sentinels,
        }
    }

    fn url(&self) -> String {
        let hosts = self
            .sentinels
            .iter()
            .map(|(sentinel, _)| format!("127.0.0.1:{}", sentinel.port()));
        format!(
            "redis+sentinel://{}/mymaster",
            hosts.collect::<Vec<_>>().join(",")
        )
    }
}

/// What a server calls itself. A server ends all connections when it becomes a master.
async fn role(server: &Redis) -> Option<String> {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let role: Vec<Value> = cmd("ROLE").query_async(&mut connection).await.ok()?;
    String::from_redis_value(role.into_iter().next()?).ok()
}

/// After such a failover, the old master calls itself a master for eight seconds, and takes writes that are lost later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed_while_the_old_master_still_answers() {
    needs!("redis-server");
    let group = Group::start().await;
    let node = Node::builder()
        .set("redis.url", &group.url())
        .set("limiter.quota", "1000000/minute")
        .set("limiter.redis.timeout", "10s")
        .start()
        .await;
    has_connections(&node, 1).await;
    let traffic = traffic(&node);
    traffic.answers(100).await;
    // Any of them may lead it. The others hear of it within two seconds.
    group.sentinels[1]
        .0
        .command::<()>("SENTINEL FAILOVER mymaster")
        .await;
    eventually("the replica is promoted", async || {
        (role(&group.replica).await? == "master").then_some(())
    })
    .await;
    let promoted = Instant::now();
    eventually("the new master decides", async || {
        (group.replica.calls("zadd").await > 100).then_some(())
    })
    .await;
    let took = promoted.elapsed();
    let still = role(&group.master).await;
    assert_eq!(still.as_deref(), Some("master"), "after {took:?}");
    eventually("no connection is left there", async || {
        (from_nodes(&group.master).await == 0).then_some(())
    })
    .await;
    let decided = group.master.calls("zadd").await;
    traffic.answers(100).await;
    assert_eq!(group.master.calls("zadd").await, decided);
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
    println!("followed {took:?} after the promotion");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_all_threads_use_the_new_master() {
    needs!("redis-server");
    let mut group = redis_kinds::sentinel().await;
    let replica = group.replica(2_000).await;

    let node = node(&group).await;
    let traffic = traffic(&node);
    all_threads_use(&node, group.master()).await;
    group.master_mut().kill();
    group.name_becomes(&replica).await;
    all_threads_use(&node, &replica).await;
    // At first the node knows of requests that the new master does not have, and decides with them until it has told it.
    eventually("the new master decides everything", async || {
        let [by_redis, alone] = decided(&node).await;
        traffic.answers(200).await;
        let now = decided(&node).await;
        (now[0] >= by_redis + 200.0 && now[1] == alone).then_some(())
    })
    .await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    assert!(replica.calls("zadd").await > 0);
}
