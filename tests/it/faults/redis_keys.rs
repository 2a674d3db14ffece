//! Redis answers, but a key holds something else, or the server cannot be used.

use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::Method;
use testkit::{Node, NodeBuilder, Redis, Traffic, eventually, free_port, needs};

fn node(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.redis.timeout", "10s")
}

async fn decided_by(node: &Node, source: &str) -> f64 {
    let label = format!("source=\"{source}\"");
    node.metric("shunt_limiter_decisions_total", &[&label])
        .await
}

/// Sends `requests` one after the other, to all nodes in turn. Returns how many are admitted.
async fn admitted(nodes: &[&Node], client: [u8; 4], requests: usize) -> usize {
    let mut admitted = 0;
    for number in 0..requests {
        let client = nodes[number % nodes.len()].client_at(client);
        let answer = client.get("/").await;
        assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
        admitted += usize::from(answer.status == 200);
    }
    admitted
}

async fn assert_never_away(nodes: &[&Node]) {
    for node in nodes {
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "redis is there");
        assert_eq!(node.log_lines("redis is away"), [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_no_log_concerns_its_client_alone() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).set("limiter.nodes", "2");
    let nodes = [node.clone().start().await, node.start().await];
    let nodes = [&nodes[0], &nodes[1]];
    for (number, command, kind) in [
        (1, "SET rate_limit:127.0.50.1 mine", "string"),
        (2, "RPUSH rate_limit:127.0.50.2 mine", "list"),
        (3, "HSET rate_limit:127.0.50.3 mine yes", "hash"),
        (4, "SADD rate_limit:127.0.50.4 mine", "set"),
    ] {
        redis.command::<deadpool_redis::redis::Value>(command).await;
        let client = [127, 0, 50, number];
        // As with Redis away, each node has its share.
        assert_eq!(admitted(&nodes[..1], client, 15).await, 5, "{kind}");
        assert_eq!(admitted(&nodes[1..], client, 15).await, 5, "{kind}");
        let other = [127, 0, 51, number];
        assert_eq!(admitted(&nodes, other, 30).await, 10, "{kind}: others");
        let key = format!("rate_limit:127.0.50.{number}");
        assert_eq!(redis.command::<String>(&format!("TYPE {key}")).await, kind);
        let expires: i64 = redis.command(&format!("TTL {key}")).await;
        assert_eq!(expires, -1, "{kind}: it is not ours to delete");
    }
    assert_never_away(&nodes).await;
    for node in nodes {
        // One a minute.
        let lines = node.logged("counted by each node for itself", 1).await;
        assert!(lines[0].contains("rate_limit:127.0.50.1"), "{lines:?}");
        let failed = node.metric("shunt_store_errors_total", &["kind=\"key\""]);
        assert_eq!(failed.await, 60.0);
        assert_eq!(decided_by(node, "local").await, 60.0);
    }
    redis.command::<u32>("DEL rate_limit:127.0.50.1").await;
    // Redis decides again at once, and gets the requests that the nodes have counted.
    assert_eq!(admitted(&nodes, [127, 0, 50, 1], 30).await, 0, "used up");
    assert_eq!(decided_by(nodes[0], "local").await, 60.0);
    assert_eq!(redis.logged("rate_limit:127.0.50.1").await.len(), 11);
}

#[tokio::test]
async fn a_key_that_cannot_be_left_alone_is_logged_once_a_minute() {
    needs!("redis-server");
    let redis = Redis::start().await;
    redis.command::<()>("ACL SETUSER default -persist").await;
    redis.command::<()>("SET rate_limit:127.0.50.9 mine").await;
    let node = node(&redis).start().await;
    admitted(&[&node], [127, 0, 50, 9], 5).await;
    let lines = node.log_lines("a key that is not shunt's expires");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// Each of these clients makes the node look whether Redis has lost more. They do not wait one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_whose_logs_are_removed_together_share_a_look_for_losses() {
    const CLIENTS: u8 = 100;
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).start().await;
    let clients = || (1..=CLIENTS).map(|number| node.client_at([127, 0, 57, number]));
    let open = clients().collect::<Vec<_>>();
    for client in &open {
        assert_eq!(client.get("/").await.status, 200);
        assert_eq!(client.get("/").await.status, 200);
    }
    for number in 1..=CLIENTS {
        let removed = format!("DEL rate_limit:127.0.57.{number}");
        assert_eq!(redis.command::<u32>(&removed).await, 1);
    }
    let before = redis.calls("hgetall").await;
    redis.freeze();
    let asked = join_all(clients().map(|client| async move { client.get("/").await }));
    let thawed = async {
        eventually("all requests arrive", async || {
            let connections = node.metric("shunt_http_connections", &[]).await;
            (connections >= 2.0 * f64::from(CLIENTS)).then_some(())
        })
        .await;
        redis.thaw();
    };
    let (answers, ()) = join(asked, thawed).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let looks = redis.calls("hgetall").await - before;
    assert!(looks < u64::from(CLIENTS) / 2, "{looks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_becomes_something_else_under_a_flood_concerns_its_client_alone() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).start().await;
    let clients = [1, 2].map(|number| node.client_at([127, 0, 52, number]));
    let flood = Traffic::start(&clients, |client, _| client.request(Method::GET, "/"));
    eventually("the shield refuses both", async || {
        let clients = node.metric("shunt_limiter_shielded_clients", &[]);
        (clients.await == 2.0).then_some(())
    })
    .await;
    redis.command::<()>("SET rate_limit:127.0.52.1 mine").await;
    eventually("this node counts the one", async || {
        (decided_by(&node, "local").await > 50.0).then_some(())
    })
    .await;
    let written = redis.logged("rate_limit:127.0.52.2").await;
    eventually("Redis is told of the other", async || {
        let now = redis.logged("rate_limit:127.0.52.2").await;
        (now.last() > written.last()).then_some(())
    })
    .await;
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), 20, "one quota each: {seen:?}");
    assert_never_away(&[&node]).await;
    let kept: String = redis.command("GET rate_limit:127.0.52.1").await;
    assert_eq!(kept, "mine");
    assert_eq!(redis.command::<i64>("TTL rate_limit:127.0.52.1").await, -1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_members_and_impossible_times_stop_no_client() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = [node(&redis).start().await, node(&redis).start().await];
    let nodes = [&nodes[0], &nodes[1]];
    let now = redis.now().await;
    let (recent, hour) = (now - 1_000_000, now + 3_600_000_000);
    // A foreign member whose score is a recent time counts as a request. All others do not.
    let eleven = |score: &str| -> String { (0..11).map(|n| format!(" {score} m{n}")).collect() };
    for (number, entries, expected) in [
        (1, format!(" {recent} hello"), 9),
        (2, format!(" {recent}.5 a-b"), 9),
        (3, eleven("+inf"), 10),
        (4, eleven("-inf"), 10),
        (5, eleven("1e300"), 10),
        (6, eleven(&hour.to_string()), 10),
        (7, eleven("-5"), 10),
    ] {
        let key = format!("rate_limit:127.0.53.{number}");
        redis.command::<u32>(&format!("ZADD {key}{entries}")).await;
        let client = [127, 0, 53, number];
        assert_eq!(admitted(&nodes, client, 30).await, expected, "{entries}");
        let answer = nodes[0].client_at(client).get("/").await;
        assert!(answer.number("retry-after") <= 60, "{entries}: {answer:?}");
    }
    assert_never_away(&nodes).await;
    assert_eq!(decided_by(nodes[0], "local").await, 0.0);
}

/// The times of nodes differ by milliseconds. No entry of another node may be lost because of that.
#[tokio::test]
async fn what_is_ahead_by_less_than_a_second_counts() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis).start().await;
    let soon = redis.now().await + 900_000;
    let entries: String = (0..10).map(|n| format!(" {soon} {n}")).collect();
    redis
        .command::<u32>(&format!("ZADD rate_limit:127.0.54.1{entries}"))
        .await;
    let answer = node.client_at([127, 0, 54, 1]).get("/").await;
    assert_eq!(answer.status, 429);
    assert!(answer.number("retry-after") <= 60, "{answer:?}");
    assert_eq!(
        redis.command::<u32>("ZCARD rate_limit:127.0.54.1").await,
        11
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_at_keys_of_the_nodes_own_does_no_harm() {
    needs!("redis-server");
    let redis = Redis::start().await;
    for (number, key, command) in [
        (1, "rate_limit:clock", "SET rate_limit:clock mine"),
        (2, "rate_limit_probe", "SET rate_limit_probe mine"),
        (3, "rate_limit:probe", "SET rate_limit:probe mine"),
    ] {
        redis.command::<()>(command).await;
        let pair = [node(&redis).start().await, node(&redis).start().await];
        let nodes = [&pair[0], &pair[1]];
        let gets = redis.calls("get").await;
        eventually("the clock is measured again", async || {
            (redis.calls("get").await > gets + 2).then_some(())
        })
        .await;
        let client = [127, 0, 55, number];
        assert_eq!(admitted(&nodes, client, 30).await, 10, "{key}");
        assert_never_away(&nodes).await;
        let kept: String = redis.command(&format!("GET {key}")).await;
        assert_eq!(
            (
                kept.as_str(),
                redis.command::<i64>(&format!("TTL {key}")).await
            ),
            ("mine", -1)
        );
        for node in nodes {
            let lines = node.log_lines("holds something else");
            assert_eq!(
                lines.len(),
                usize::from(key == "rate_limit:clock"),
                "{lines:?}"
            );
        }
        // Nodes would notice that their beats are gone, and those of the next round would start into that.
        drop(pair);
        redis.command::<()>("FLUSHALL").await;
    }
    redis.command::<u32>("RPUSH rate_limit:clock mine").await;
    let node = node(&redis).start().await;
    assert_eq!(admitted(&[&node], [127, 0, 55, 9], 15).await, 10);
    assert_never_away(&[&node]).await;
    assert_eq!(
        redis.command::<String>("TYPE rate_limit:clock").await,
        "list"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_with_two_prefixes_on_one_redis_do_not_meet() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let service = |prefix: &str| {
        node(&redis)
            .set("redis.prefix", prefix)
            .set("limiter.policies.shorten.quota", "3/minute")
            .set("limiter.policies.shorten.routes", "shorten")
    };
    let nodes = [
        service("one:").start().await,
        service("two:").start().await,
        service("two:").start().await,
    ];
    let client = [127, 0, 56, 1];
    assert_eq!(admitted(&[&nodes[0]], client, 15).await, 10);
    assert_eq!(admitted(&[&nodes[1], &nodes[2]], client, 30).await, 10);
    nodes[0]
        .client_at(client)
        .shorten("https://example.com/")
        .await;
    let keys: Vec<String> = redis.command("KEYS *").await;
    let is_of = |key: &String, prefix: &str| key.starts_with(prefix);
    assert!(
        keys.iter()
            .all(|key| is_of(key, "one:") || is_of(key, "two:")),
        "{keys:?}"
    );
    for key in [
        "one:127.0.56.1",
        "two:127.0.56.1",
        "one:shorten:127.0.56.1",
        "one:clock",
        "two:clock",
        "one:nodes",
        "two:nodes",
    ] {
        assert!(keys.iter().any(|known| known == key), "{key} of {keys:?}");
    }
    assert_never_away(&[&nodes[0], &nodes[1], &nodes[2]]).await;
}

/// Makes a cluster of two servers, each with half of the slots.
async fn make_cluster(servers: [&Redis; 2]) {
    for (server, slots) in servers.iter().zip(["0 8191", "8192 16383"]) {
        let add = format!("CLUSTER ADDSLOTSRANGE {slots}");
        server.command::<()>(&add).await;
    }
    let bus: String = servers[1].command("CLUSTER MYID").await;
    assert!(!bus.is_empty());
    let ports: Vec<String> = servers[1].command("CONFIG GET cluster-port").await;
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", servers[1].port(), ports[1]);
    servers[0].command::<()>(&meet).await;
    for server in servers {
        eventually("the cluster is up", async || {
            let info: String = server.command("CLUSTER INFO").await;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
    }
}

fn in_cluster_mode() -> [String; 4] {
    [
        "--cluster-enabled".to_owned(),
        "yes".to_owned(),
        "--cluster-port".to_owned(),
        free_port().to_string(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_of_a_cluster_is_an_error_that_names_the_right_url() {
    needs!("redis-server");
    let arguments = [in_cluster_mode(), in_cluster_mode()];
    let [first, second] = [&arguments[0], &arguments[1]].map(|arguments| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Redis::stopped(&arguments)
    });
    let (mut first, mut second) = (first, second);
    // A node that runs already does not end because of it.
    let early = node(&first).start().await;
    first.restart().await;
    second.restart().await;
    make_cluster([&first, &second]).await;

    for server in [&first, &second] {
        let builder = node(server);
        let (mut process, log) = builder.spawn();
        eventually("the node ends", async || process.has_ended().then_some(())).await;
        assert_eq!(process.wait(), 1);
        let log = log.lock().expect("no panic").join("\n");
        assert!(log.contains("redis+cluster://"), "{log}");
        assert!(!log.contains("listening"), "{log}");
    }

    eventually("the early one says what is wrong", async || {
        (early.log_lines("redis+cluster://").len() == 1).then_some(())
    })
    .await;
    // It tries again and again, and logs it once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    early.logged("redis+cluster://", 1).await;
    assert_eq!(early.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    let ready = early.probe().get("/readyz").await.json();
    assert_eq!(ready["dependencies"]["redis"]["status"], "down");
    assert_eq!(admitted(&[&early], [127, 0, 57, 1], 15).await, 10);

    let url = format!("redis+cluster://127.0.0.1:{}", first.port());
    let right = node(&first).set("redis.url", &url);
    let nodes = [right.start().await, right.start().await];
    for number in 1..=8 {
        let client = [127, 0, 58, number];
        assert_eq!(admitted(&[&nodes[0], &nodes[1]], client, 30).await, 10);
    }
    assert_never_away(&[&nodes[0], &nodes[1]]).await;
}
