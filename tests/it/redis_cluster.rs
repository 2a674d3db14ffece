//! A Redis Cluster of several servers: slots that move, and a server that is away.

use std::{collections::BTreeMap, net::Ipv4Addr, process::Command, time::Duration};

use deadpool_redis::redis::Value;
use reqwest::Method;
use testkit::{Answer, Client, Node, NodeBuilder, Redis, Traffic, eventually, find, needs};

use crate::stores::redis_kinds::{self, Shards};

fn node(shards: &Shards) -> NodeBuilder {
    Node::builder()
        .set("redis.url", &shards.url())
        .set("http.trusted_proxies", "127.0.0.1")
        // Every decision is Redis's.
        .set("limiter.shield", "false")
        // A busy machine makes no request time out.
        .set("limiter.redis.timeout", "5s")
}

async fn by_redis(node: &Node) -> f64 {
    let labels = ["source=\"redis\""];
    node.metric("shunt_limiter_decisions_total", &labels).await
}

async fn local(node: &Node) -> f64 {
    let labels = ["source=\"local\""];
    node.metric("shunt_limiter_decisions_total", &labels).await
}

async fn assert_never_away(nodes: &[Node]) {
    for node in nodes {
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "{:?}", node.log_lines("away"));
        assert_eq!(local(node).await, 0.0);
    }
}

/// A request for a client of this address.
fn request(client: &Client, address: Ipv4Addr) -> reqwest::RequestBuilder {
    let request = client.request(Method::GET, "/");
    request.header("X-Forwarded-For", address.to_string())
}

/// Sends so many requests for a client to the nodes in turn, and returns how many were admitted.
async fn admitted(nodes: &[Node], address: Ipv4Addr, requests: usize) -> usize {
    let mut admitted = 0;
    for number in 0..requests {
        let client = nodes[number % nodes.len()].client();
        let answer = Answer::to(request(&client, address))
            .await
            .expect("an answer");
        assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
        admitted += usize::from(answer.status == 200);
    }
    admitted
}

fn key(address: Ipv4Addr) -> String {
    format!("rate_limit:{address}")
}

/// Clients by the server that has their logs at first.
async fn clients_by_owner(shards: &Shards, count: u32) -> BTreeMap<usize, Vec<Ipv4Addr>> {
    let mut clients: BTreeMap<usize, Vec<Ipv4Addr>> = BTreeMap::new();
    for number in 0..count {
        let address = Ipv4Addr::from_bits(0x0a4d_0000 + number);
        let owner = shards.owner(&key(address)).await;
        clients.entry(owner).or_default().push(address);
    }
    assert_eq!(clients.len(), shards.0.len());
    clients
}

/// Moves slots with Redis's own tool.
fn reshard(from: &str, to: &str, any: u16, slots: usize) {
    let moved = Command::new(find("redis-cli").expect("redis-cli"))
        .args(["--cluster", "reshard", &format!("127.0.0.1:{any}")])
        .args(["--cluster-from", from, "--cluster-to", to])
        .args(["--cluster-slots", &slots.to_string(), "--cluster-yes"])
        .output()
        .expect("redis-cli");
    assert!(moved.status.success(), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_slots_move_no_request_fails_and_none_counts_twice() {
    const CLIENTS: u32 = 120;
    const LIMIT: usize = 15;
    needs!("redis-server", "redis-cli");
    let shards = redis_kinds::shards(3, &[]).await;
    let builder = node(&shards).set("limiter.quota", &format!("{LIMIT}/hour"));
    let nodes = [builder.start().await, builder.start().await];
    // The tasks of both nodes go through the same clients.
    let clients = [
        nodes[0].client(),
        nodes[1].client(),
        nodes[0].client(),
        nodes[1].client(),
    ];
    let traffic = Traffic::start(&clients, |client, number| {
        let number = (number % 1_000_000) as u32 % CLIENTS;
        request(client, Ipv4Addr::from_bits(0x0a4d_0000 + number))
    });
    traffic.answers(300).await;
    let from: String = shards.0[0].command("CLUSTER MYID").await;
    let to: String = shards.0[1].command("CLUSTER MYID").await;
    let any = shards.0[2].port();
    let moving = tokio::task::spawn_blocking(move || reshard(&from, &to, any, 1_500));
    let before = traffic.seen().total();
    moving.await.expect("slots move");
    let meanwhile = traffic.seen().total() - before;
    assert!(meanwhile > 100, "{meanwhile} requests while slots moved");
    let all = CLIENTS as usize * (LIMIT + 4);
    eventually("every client has used up its quota", async || {
        (traffic.seen().total() >= all).then_some(())
    })
    .await;
    let seen = traffic.stop().await;
    assert_eq!(seen.count(200) + seen.count(429), seen.total(), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
    assert_eq!(seen.count(200), CLIENTS as usize * LIMIT);
    assert_never_away(&nodes).await;
}

/// Runs the same command about a slot on several servers.
async fn on_each(servers: &[&Redis], command: &str) {
    for server in servers {
        server.command::<Value>(command).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_found_on_either_side_of_a_slot_that_is_on_its_way() {
    needs!("redis-server");
    let shards = redis_kinds::shards(3, &[]).await;
    let builder = node(&shards).set("limiter.quota", "10/hour");
    let nodes = [builder.start().await, builder.start().await];
    let clients = clients_by_owner(&shards, 30).await;
    let [source, target, other] = [&shards.0[0], &shards.0[1], &shards.0[2]];
    let [source_id, target_id]: [String; 2] = [
        source.command("CLUSTER MYID").await,
        target.command("CLUSTER MYID").await,
    ];

    // One client has its log on the way, another has none when the slot begins to move.
    for (address, used) in [(clients[&0][0], 4), (clients[&0][1], 0)] {
        assert_eq!(admitted(&nodes, address, used).await, used);
        let key = key(address);
        let slot = shards.slot(&key).await;
        target
            .command::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"))
            .await;
        source
            .command::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"))
            .await;
        if used > 0 {
            assert_eq!(admitted(&nodes, address, 1).await, 1, "it is at the source");
            let migrate = format!("MIGRATE 127.0.0.1 {} {key} 0 5000", target.port());
            source.command::<()>(&migrate).await;
        }
        let rest = 10 - used - usize::from(used > 0);
        assert_eq!(admitted(&nodes, address, 3).await, 3, "it is at the target");
        let count = format!("CLUSTER COUNTKEYSINSLOT {slot}");
        assert_eq!(source.command::<u32>(&count).await, 0);
        assert_eq!(target.command::<u32>(&count).await, 1);
        on_each(
            &[target, source, other],
            &format!("CLUSTER SETSLOT {slot} NODE {target_id}"),
        )
        .await;
        assert_eq!(
            admitted(&nodes, address, 20).await,
            rest - 3,
            "the slot has moved"
        );
    }
    assert_never_away(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_gets_its_first_slots_is_found() {
    needs!("redis-server", "redis-cli");
    let port = testkit::free_port().to_string();
    let mut shards = redis_kinds::shards(2, &[]).await;
    let nodes = [node(&shards).set("limiter.quota", "10/hour").start().await];
    let clients = clients_by_owner(&shards, 60).await;
    for address in &clients[&0] {
        assert_eq!(admitted(&nodes, *address, 3).await, 3);
    }
    let new = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &port]).await;
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {port}", new.port());
    shards.0[0].command::<()>(&meet).await;
    let id: String = new.command("CLUSTER MYID").await;
    for server in &shards.0 {
        eventually("the new one is known", async || {
            let nodes: String = server.command("CLUSTER NODES").await;
            nodes
                .lines()
                .any(|line| line.starts_with(&id) && line.ends_with("connected"))
                .then_some(())
        })
        .await;
    }
    eventually("the new one knows the others", async || {
        let info: String = new.command("CLUSTER INFO").await;
        // For two seconds, a server that has just joined takes no writes.
        let is_up = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
        is_up.then_some(())
    })
    .await;
    let from: String = shards.0[0].command("CLUSTER MYID").await;
    let any = shards.0[1].port();
    tokio::task::spawn_blocking(move || reshard(&from, &id, any, 600))
        .await
        .expect("slots move");
    shards.0.push(new);
    for address in &clients[&0] {
        assert_eq!(admitted(&nodes, *address, 10).await, 7);
    }
    assert!(shards.0[2].calls("zadd").await > 0);
    assert_never_away(&nodes).await;
}

/// Does harm to each server of a cluster in turn. Meanwhile, the clients of the others notice nothing.
async fn one_is_away(harm: impl Fn(&mut Redis), mend: impl AsyncFn(&mut Redis)) {
    let mut shards = redis_kinds::shards(3, &[]).await;
    let clients = clients_by_owner(&shards, 60).await;
    let node = node(&shards)
        .set("limiter.quota", "1000000/hour")
        .set("limiter.redis.timeout", "2s")
        .start()
        .await;
    let traffic_of = |owners: &[usize]| {
        let addresses: Vec<Ipv4Addr> = owners
            .iter()
            .flat_map(|owner| clients[owner].clone())
            .collect();
        Traffic::start(&[node.client(), node.client()], move |client, number| {
            request(client, addresses[number % addresses.len()])
        })
    };
    for away in 0..3 {
        let there: Vec<usize> = (0..3).filter(|server| *server != away).collect();
        let before = local(&node).await;
        let traffic = traffic_of(&there);
        traffic.answers(200).await;
        harm(&mut shards.0[away]);
        node.breaker_is(true).await;
        traffic.answers(500).await;
        let seen = traffic.stop().await;
        assert_eq!(seen.count(200), seen.total(), "{seen:?}");
        // As long as a request waits for its own server on a busy machine.
        assert!(seen.slowest < Duration::from_secs(2), "{:?}", seen.slowest);
        assert_eq!(
            local(&node).await,
            before,
            "Redis decided for all: {:?}",
            node.log_lines("")
        );

        let ready = node.probe().get("/readyz").await.json();
        assert_eq!(ready["dependencies"]["redis"]["status"], "degraded");
        let name = format!("127.0.0.1:{}", shards.0[away].port());
        assert!(ready.to_string().contains(&name), "{ready}");

        let decided = by_redis(&node).await;
        let traffic = traffic_of(&[away]);
        traffic.answers(100).await;
        let seen = traffic.stop().await;
        assert_eq!(seen.count(200), seen.total(), "{seen:?}");
        assert_eq!(local(&node).await, before + seen.total() as f64);
        assert_eq!(by_redis(&node).await, decided);

        mend(&mut shards.0[away]).await;
        node.breaker_is(false).await;
        let before = local(&node).await;
        let traffic = traffic_of(&[0, 1, 2]);
        traffic.answers(300).await;
        traffic.stop().await;
        assert_eq!(local(&node).await, before, "Redis decides for all again");
    }
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
    assert_eq!(opened.await, 3.0, "{:?}", node.log_lines("away"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_concerns_only_its_own_clients() {
    needs!("redis-server");
    one_is_away(Redis::kill, Redis::restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen_concerns_only_its_own_clients() {
    needs!("redis-server");
    one_is_away(|server| server.freeze(), async |server| server.thaw()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_while_a_server_is_away_unless_it_has_the_time() {
    needs!("redis-server");
    let mut shards = redis_kinds::shards(3, &[]).await;
    let clients = clients_by_owner(&shards, 30).await;
    let with_mark = shards.owner("rate_limit:clock").await;
    let away = (with_mark + 1) % 3;
    shards.0[away].kill();
    let node = node(&shards).start().await;
    for (owner, addresses) in &clients {
        let before = local(&node).await;
        for address in addresses {
            let answer = Answer::to(request(&node.client(), *address)).await;
            assert_eq!(answer.expect("an answer").status, 200);
        }
        let expected = if *owner == away { addresses.len() } else { 0 };
        assert_eq!(local(&node).await, before + expected as f64, "{owner}");
    }
}
