//! Connections to Redis: one in common and one for each thread that serves requests.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use reqwest::Method;
use testkit::{Client, Node, NodeBuilder, RawConnection, Redis, Traffic, eventually, needs};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// A node with two threads that serve requests. They wait for Redis longer than a busy machine stalls.
fn node(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("http.workers", "2")
        .set("limiter.quota", "1000000/minute")
        .set("limiter.redis.timeout", "2s")
}

/// Requests, each on a connection of its own, so that every thread gets some.
fn traffic(node: &Node) -> Traffic {
    let clients: Vec<Client> = (1..=4)
        .map(|number| {
            let address = Ipv4Addr::new(127, 0, 22, number);
            Client::without_keep_alive(address.into(), node.address())
        })
        .collect();
    Traffic::start(&clients, |client, _| client.request(Method::GET, "/"))
}

/// Waits until Redis has this many clients, not counting the one that asks.
async fn redis_has_clients(redis: &Redis, expected: usize) {
    eventually("Redis has so many clients", async || {
        let clients: String = redis.command("CLIENT LIST TYPE normal").await;
        (clients.lines().count() == expected + 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_thread_has_its_own_and_makes_another_one_when_it_ends() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).start().await;
    node.becomes("shunt_redis_connections", 1.0).await;
    let traffic = traffic(&node);
    for round in 0..=3 {
        if round > 0 {
            let ended: usize = redis.command("CLIENT KILL TYPE normal").await;
            assert!(ended >= 3, "{ended}");
        }
        node.becomes("shunt_redis_connections", 3.0).await;
        redis_has_clients(&redis, 3).await;
        let decided = node.metric("shunt_limiter_decisions_total", &["source=\"redis\""]);
        let decided = decided.await;
        traffic.answers(200).await;
        let now = node.metric("shunt_limiter_decisions_total", &["source=\"redis\""]);
        assert!(now.await >= decided + 200.0);
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "redis is there");
    }
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
}

/// Runs a command on an open connection, as in telnet.
async fn run(connection: &mut RawConnection, command: &str) -> String {
    connection.send(format!("{command}\r\n").as_bytes()).await;
    let answer = connection.receive(Duration::from_secs(10)).await;
    answer.expect("Redis keeps the connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_redis_allows_only_one_all_threads_use_it() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut operator = RawConnection::open(([127, 0, 0, 1], redis.port()).into()).await;
    let node = node(&redis).start().await;
    let answer = run(&mut operator, "CONFIG SET maxclients 2").await;
    assert_eq!(answer, "+OK\r\n");

    let traffic = traffic(&node);
    traffic.answers(1_000).await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
    let by_redis = node.metric("shunt_limiter_decisions_total", &["source=\"redis\""]);
    assert_eq!(by_redis.await, seen.total() as f64);
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
    assert_eq!(opened.await, 0.0, "no thread takes Redis to be away");
    assert_eq!(node.metric("shunt_redis_connections", &[]).await, 1.0);

    let statistics = run(&mut operator, "INFO stats").await;
    let rejected = statistics
        .lines()
        .find_map(|line| line.strip_prefix("rejected_connections:"));
    assert_eq!(rejected, Some("2"), "each thread has tried once");
}

/// The address of a proxy to Redis on which connecting takes `delay`, as with TLS when many nodes connect at once.
async fn slow_to_connect(redis: &Redis, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let port = redis.port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                sleep(delay).await;
                let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                for socket in [&client, &server] {
                    socket.set_nodelay(true)?;
                }
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_connecting_takes_longer_than_a_request_may_redis_does_not_count_as_away() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let address = slow_to_connect(&redis, Duration::from_millis(750)).await;
    let node = node(&redis)
        .set("redis.url", &format!("redis://{address}"))
        .set("limiter.redis.timeout", "500ms")
        .start()
        .await;
    node.breaker_is(false).await;
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]).await;
    let traffic = traffic(&node);
    sleep(Duration::from_secs(5)).await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200), seen.total(), "{seen:?}");
    let now = node.metric("shunt_limiter_breaker_opened_total", &[]).await;
    // If the machine stalls, the breaker may open once, but not again and again.
    assert!(now <= opened + 1.0, "from {opened} to {now}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_threads_that_rest_are_not_ended_for_that() {
    needs!("redis-server");
    let redis = Redis::start_with(&["--timeout", "5"]).await;
    let node = node(&redis).start().await;
    for _ in 0..2 {
        let traffic = traffic(&node);
        node.becomes("shunt_redis_connections", 3.0).await;
        traffic.answers(100).await;
        traffic.stop().await;
        let local = node.metric("shunt_limiter_decisions_total", &["source=\"local\""]);
        assert_eq!(local.await, 0.0);
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0);
        // Redis ends connections that are idle for 5 seconds.
        sleep(Duration::from_secs(9)).await;
        redis_has_clients(&redis, 3).await;
    }
}
