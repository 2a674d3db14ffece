//! Redis is late, connections to it are lost, nodes stand still: hiccups, which are no outage.
//!
//! `limiter.redis.timeout` is ten times the default or more, and so are the hiccups: a busy machine delays everything by
//! up to hundreds of milliseconds, which must not decide how these tests end.

use std::{net::Ipv4Addr, time::Duration};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use testkit::{
    Answer, Client, Fate, Node, NodeBuilder, RawConnection, Redis, Traffic, Wire, eventually,
    needs, within,
};
use tokio::time::sleep;

const NODES: usize = 3;

/// A node whose limit no client reaches within an hour.
fn builder(timeout: &str) -> NodeBuilder {
    Node::builder()
        .set("http.workers", "2")
        .set("limiter.quota", "1000000/hour")
        .set("limiter.redis.timeout", timeout)
}

async fn nodes(redis: &Redis, timeout: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(builder(timeout).redis(redis).start().await);
    }
    nodes
}

/// The only client of these tests: all nodes write its log.
const CLIENT: [u8; 4] = [127, 0, 70, 1];
const LOG: &str = "rate_limit:127.0.70.1";

/// Requests to all nodes, each on a connection of its own, so that every thread gets some.
fn traffic(nodes: &[Node]) -> Traffic {
    let address = Ipv4Addr::from(CLIENT).into();
    let clients = nodes.iter().flat_map(|node| {
        let client = || Client::without_keep_alive(address, node.address());
        [client(), client(), client()]
    });
    let clients: Vec<Client> = clients.collect();
    Traffic::start(&clients, |client, _| client.request(Method::GET, "/"))
}

async fn decided_by(nodes: &[Node], source: &str) -> f64 {
    let label = format!("source=\"{source}\"");
    let mut sum = 0.0;
    for node in nodes {
        sum += node
            .metric("shunt_limiter_decisions_total", &[&label])
            .await;
    }
    sum
}

async fn failures(nodes: &[Node], kind: &str) -> f64 {
    let label = format!("kind=\"{kind}\"");
    let mut sum = 0.0;
    for node in nodes {
        sum += node.metric("shunt_store_errors_total", &[&label]).await;
    }
    sum
}

async fn assert_no_outage(nodes: &[Node]) {
    for node in nodes {
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "{:?}", node.log_lines("WARN"));
    }
}

/// Stops the traffic, and returns how many requests it sent. All must have been admitted.
async fn all_admitted(traffic: Traffic) -> usize {
    let seen = traffic.stop().await;
    assert_eq!(seen.broken, [] as [&str; 0]);
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    seen.total()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_again_and_again_cost_no_decision() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = nodes(&redis, "5s").await;
    let traffic = traffic(&nodes);
    for _ in 0..20 {
        traffic.answers(100).await;
        let killed: usize = redis.command("CLIENT KILL TYPE normal").await;
        assert!(killed >= NODES, "{killed}");
    }
    traffic.answers(100).await;
    let sent = all_admitted(traffic).await;
    assert_no_outage(&nodes).await;
    assert_eq!(decided_by(&nodes, "redis").await, sent as f64);
    let logged: usize = redis.command(&format!("ZCARD {LOG}")).await;
    assert_eq!(logged, sent, "each is logged, and once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_lose_their_connection_together_make_one_new_connection_a_thread() {
    needs!("redis-server");
    const AT_ONCE: usize = 300;
    let redis = Redis::start().await;
    let wire = Wire::start(redis.port()).await;
    let node = builder("10s")
        .set("redis.url", &format!("redis://{}", wire.address()))
        .start()
        .await;
    let client = Client::without_keep_alive(Ipv4Addr::from(CLIENT).into(), node.address());
    eventually("both threads have a connection", async || {
        assert_eq!(client.get("/").await.status, 200);
        (node.metric("shunt_redis_connections", &[]).await == 3.0).then_some(())
    })
    .await;
    let before: usize = redis.command(&format!("ZCARD {LOG}")).await;
    let (made, held) = (wire.connections(), wire.held());

    wire.set_all(Fate::Hold);
    let answers = (0..AT_ONCE).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { Answer::to(client.request(Method::GET, "/")).await })
    });
    let answers: Vec<_> = answers.collect();
    eventually("all are on their way", async || {
        // A request takes more than 200 bytes.
        (wire.held() - held > AT_ONCE * 200).then_some(())
    })
    .await;
    wire.set_all(Fate::End);
    for answer in join_all(answers).await {
        let answer = answer.expect("no panic").expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let made = wire.connections() - made;
    assert!(made <= 3, "{made} for two threads and the common one");
    let logged: usize = redis.command(&format!("ZCARD {LOG}")).await;
    assert_eq!(logged, before + AT_ONCE);
    assert_eq!(decided_by(&[node], "local").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_for_one_and_a_half_timeouts_is_not_away() {
    needs!("redis-server");
    let redis = Redis::start_with(&["--enable-debug-command", "yes"]).await;
    let nodes = nodes(&redis, "2s").await;
    let traffic = traffic(&nodes);
    traffic.answers(200).await;
    let mut operator = RawConnection::open(([127, 0, 0, 1], redis.port()).into()).await;
    assert!(operator.send(b"DEBUG SLEEP 3\r\n").await);
    let slept = operator.receive(Duration::from_secs(60)).await;
    assert_eq!(slept.as_deref(), Some("+OK\r\n"));
    traffic.answers(200).await;
    all_admitted(traffic).await;
    assert_no_outage(&nodes).await;
    let local = decided_by(&nodes, "local").await;
    assert!(local <= (3 * NODES) as f64, "one for each client: {local}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_takes_redis_neither_for_late_nor_for_away() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = nodes(&redis, "1s").await;
    let traffic = traffic(&nodes);
    traffic.answers(200).await;
    for _ in 0..2 {
        for node in &nodes {
            node.signal(Signal::STOP);
            // As long as the node waits for Redis, and then as long again.
            sleep(Duration::from_millis(2_500)).await;
            node.signal(Signal::CONT);
            traffic.answers(100).await;
        }
    }
    all_admitted(traffic).await;
    assert_no_outage(&nodes).await;
    assert_eq!(decided_by(&nodes, "local").await, 0.0);
}

/// A firewall has forgotten the connection of one thread: nothing arrives, and no end is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_answers_nothing_while_others_do_is_replaced() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let wire = Wire::start(redis.port()).await;
    let node = builder("1s")
        .set("redis.url", &format!("redis://{}", wire.address()))
        .start()
        .await;
    let nodes = [node];
    let traffic = traffic(&nodes);
    eventually("both threads have a connection", async || {
        (nodes[0].metric("shunt_redis_connections", &[]).await == 3.0).then_some(())
    })
    .await;
    let made = wire.connections();
    for connection in [made - 1, 0] {
        let made = wire.connections();
        wire.set(connection, Fate::Hold);
        eventually("it is replaced", async || {
            (wire.connections() > made).then_some(())
        })
        .await;
        eventually("no request waits for it any more", async || {
            let late = failures(&nodes, "timeout").await;
            traffic.answers(200).await;
            (failures(&nodes, "timeout").await == late).then_some(())
        })
        .await;
    }
    all_admitted(traffic).await;
    assert_no_outage(&nodes).await;
}

/// As when an address moves to another server. Nothing tells that the other one lacks what the first one knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_a_new_connection_leads_to_another_server_it_is_an_outage() {
    needs!("redis-server");
    let (one, other) = (Redis::start().await, Redis::start().await);
    let wire = Wire::start(one.port()).await;
    let node = builder("5s")
        .set("redis.url", &format!("redis://{}", wire.address()))
        .start()
        .await;
    let nodes = [node];
    let traffic = traffic(&nodes);
    traffic.answers(100).await;
    wire.lead_to(other.port());
    wire.set_all(Fate::End);
    eventually("it is noticed", async || {
        (failures(&nodes, "restarted").await > 0.0).then_some(())
    })
    .await;
    nodes[0].breaker_is(false).await;
    let opened = nodes[0].metric("shunt_limiter_breaker_opened_total", &[]);
    assert_eq!(opened.await, 1.0);
    let before = decided_by(&nodes, "redis").await;
    traffic.answers(100).await;
    assert!(decided_by(&nodes, "redis").await > before);
    all_admitted(traffic).await;
}

/// What a node sends after it stood still, until it logs a request: the names of the commands.
async fn commands_until_a_request(monitor: &mut RawConnection) -> Vec<String> {
    let mut text = String::new();
    within(Duration::from_secs(60), "a request is logged", async || {
        let more = monitor.receive(Duration::from_secs(1)).await;
        text.push_str(&more.expect("Redis goes on"));
        text.contains("\"ZADD\"").then_some(())
    })
    .await;
    // `+1800000000.000001 [0 127.0.0.1:1234] "ZADD" "rate_limit:…" …`
    let names = text.lines().filter_map(|line| line.split('"').nth(1));
    names.map(str::to_owned).collect()
}

/// A window passes while a node stands still. It first asks Redis for the time, and then goes on as Redis counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_for_a_window_asks_for_the_time_first() {
    needs!("redis-server");
    const LIMIT: usize = 4;
    let redis = Redis::start().await;
    let builder = builder("10s").set("limiter.quota", "4/3s").redis(&redis);
    let nodes = [builder.start().await, builder.start().await];
    let client = nodes[0].client_at(CLIENT);
    assert_eq!(client.get("/").await.status, 200);

    nodes[0].signal(Signal::STOP);
    // Longer than the window, and longer than a measurement of the clock is gone by.
    sleep(Duration::from_secs(5)).await;
    // Another node admits the quota meanwhile.
    for _ in 0..LIMIT {
        assert_eq!(nodes[1].client_at(CLIENT).get("/").await.status, 200);
    }
    let used = redis.logged(LOG).await;
    let request = {
        let client = client.clone();
        tokio::spawn(async move { client.get("/").await })
    };
    eventually("the request is there", async || {
        (testkit::unread(nodes[0].address().port()) > 0).then_some(())
    })
    .await;
    let mut monitor = RawConnection::open(([127, 0, 0, 1], redis.port()).into()).await;
    assert!(monitor.send(b"MONITOR\r\n").await);
    nodes[1].signal(Signal::STOP);
    nodes[0].signal(Signal::CONT);
    let commands = commands_until_a_request(&mut monitor).await;
    nodes[1].signal(Signal::CONT);
    let first = commands.iter().position(|name| name == "ZADD");
    let time = commands.iter().position(|name| name == "TIME");
    assert!(time.is_some() && time < first, "{commands:?}");

    let answer = request.await.expect("no panic");
    let log = redis.logged(LOG).await;
    let newest = log.last().expect("it is logged");
    if newest - used[0] < 3_000_000 {
        assert_eq!(answer.status, 429, "{used:?}, {log:?}");
    }
}
