//! How many nodes there are, as each of them knows it, and whether they notice that Redis has lost what they wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testkit::{Node, NodeBuilder, Redis, eventually, needs, within};

/// How long a node that is gone still counts, µs.
const SILENCE: i64 = 10_000_000;

/// `limiter.redis.timeout` is long enough for a busy machine: only Redis's own faults open the breaker here.
fn builder(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.redis.timeout", "2s")
}

async fn start(redis: &Redis, nodes: usize) -> Vec<Node> {
    let mut running = Vec::new();
    for _ in 0..nodes {
        running.push(builder(redis).start().await);
    }
    count(&running, nodes).await;
    running
}

/// How many nodes a node knows of.
async fn counted(node: &Node) -> f64 {
    node.metric("shunt_limiter_nodes", &[]).await
}

/// Waits until each node knows of so many.
async fn count(nodes: &[Node], expected: usize) {
    eventually(&format!("the nodes count {expected}"), async || {
        for node in nodes {
            if counted(node).await != expected as f64 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// The beats in Redis: the log time and the generation of each field.
async fn beats(redis: &Redis) -> BTreeMap<String, (i64, u64)> {
    let fields: BTreeMap<String, String> = redis.command("HGETALL rate_limit:nodes").await;
    let beat = |text: String| {
        let (at, generation) = text.split_once(' ').expect("two words");
        (
            at.parse().expect("a time"),
            generation.parse().expect("a number"),
        )
    };
    fields
        .into_iter()
        .map(|(id, text)| (id, beat(text)))
        .collect()
}

/// Waits until each of `fields` has beaten again, so many times.
async fn all_beat(redis: &Redis, fields: usize, times: usize) {
    for _ in 0..times {
        let before = beats(redis).await;
        eventually("all beat", async || {
            let now = beats(redis).await;
            let has_beaten = |(id, beat): (&String, &(i64, u64))| before.get(id) != Some(beat);
            (now.len() == fields && now.iter().all(has_beaten)).then_some(())
        })
        .await;
    }
}

async fn assert_never_away(nodes: &[Node]) {
    for node in nodes {
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "redis is there");
    }
}

fn assert_lost_nothing(nodes: &[Node]) {
    for node in nodes {
        assert_eq!(node.log_lines("redis has lost"), [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_counts_no_more_at_once() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut nodes = start(&redis, 3).await;
    let mut stopping = nodes.pop().expect("three");
    stopping.signal(Signal::TERM);
    assert_eq!(stopping.exit_code().await, 0);
    assert_eq!(beats(&redis).await.len(), 2, "it has removed itself");
    // Long before its silence would be noticed.
    within(Duration::from_secs(5), "two are left", async || {
        (counted(&nodes[0]).await == 2.0 && counted(&nodes[1]).await == 2.0).then_some(())
    })
    .await;
    assert_never_away(&nodes).await;
    assert_lost_nothing(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_counts_until_its_silence_is_noticed() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut nodes = start(&redis, 2).await;
    let known: BTreeSet<String> = beats(&redis).await.into_keys().collect();
    let mut victim = builder(&redis).start().await;
    count(&nodes, 3).await;
    victim.kill();
    let left = beats(&redis).await;
    let (_, (last, _)) = left
        .into_iter()
        .find(|(id, _)| !known.contains(id))
        .expect("the victim's last beat");
    for node in &nodes {
        let noticed = eventually("two are left", async || {
            let number = counted(node).await;
            assert!([2.0, 3.0].contains(&number), "{number}");
            (number == 2.0).then_some(redis.now())
        })
        .await;
        // The nodes' idea of Redis's time is off by a small part of a second.
        assert!(noticed.await >= last + SILENCE - 100_000);
    }
    // A node that is there again counts again.
    nodes.push(builder(&redis).start().await);
    count(&nodes, 3).await;
    assert_lost_nothing(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_is_kept_while_redis_is_away_and_when_it_comes_back_empty() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    let nodes = start(&redis, 3).await;
    redis.kill();
    let away = Instant::now();
    for node in &nodes {
        node.breaker_is(true).await;
        let [line] = &node.logged("redis is away", 1).await[..] else {
            panic!("one line");
        };
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["nodes"], 3, "{line}");
    }
    let keep = async || {
        for node in &nodes {
            assert_eq!(counted(node).await, 3.0);
        }
    };
    // Longer than a node that is gone counts.
    while away.elapsed() < Duration::from_micros(SILENCE as u64 + 2_000_000) {
        keep().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    redis.restart().await;
    eventually("all beat again", async || {
        keep().await;
        (beats(&redis).await.len() == 3).then_some(())
    })
    .await;
    keep().await;
    all_beat(&redis, 3, 4).await;
    keep().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_frozen_for_long_finds_as_many_nodes_as_before() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = start(&redis, 3).await;
    redis.freeze();
    for node in &nodes {
        node.breaker_is(true).await;
    }
    tokio::time::sleep(Duration::from_micros(SILENCE as u64 + 1_000_000)).await;
    redis.thaw();
    let thawed = Instant::now();
    while thawed.elapsed() < Duration::from_secs(2) {
        for node in &nodes {
            assert_eq!(counted(node).await, 3.0);
        }
    }
    for node in &nodes {
        node.breaker_is(false).await;
    }
    all_beat(&redis, 3, 2).await;
    count(&nodes, 3).await;
    assert_lost_nothing(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_counts_with_redis_and_without() {
    needs!("redis-server");
    let mut redis = Redis::stopped(&[]);
    let nodes = [
        builder(&redis).set("limiter.nodes", "7").start().await,
        builder(&redis).start().await,
        builder(&redis)
            .set("limiter.on_redis_failure", "local")
            .start()
            .await,
    ];
    for (node, number, alone) in [
        (&nodes[0], 7.0, 0),
        (&nodes[1], 1.0, 1),
        (&nodes[2], 1.0, 0),
    ] {
        node.breaker_is(true).await;
        assert_eq!(counted(node).await, number);
        node.logged("redis is away", 1).await;
        node.logged("takes itself for the only one", alone).await;
    }
    redis.restart().await;
    count(&nodes[1..], 3).await;
    assert_eq!(counted(&nodes[0]).await, 7.0);
    for node in &nodes {
        node.breaker_is(false).await;
    }
    redis.kill();
    for (node, divides_by) in [
        (&nodes[0], 7.into()),
        (&nodes[1], 3.into()),
        (&nodes[2], serde_json::Value::Null),
    ] {
        node.breaker_is(true).await;
        let lines = node.logged("redis is away", 2).await;
        let event: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!(event["nodes"], divides_by, "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_redis_has_no_number() {
    let node = Node::embedded().await;
    assert_eq!(counted(&node).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_into_the_hash_counts_nothing_and_is_removed() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = start(&redis, 2).await;
    let now = redis.now().await;
    let minutes_ago = now - 120_000_000;
    for (field, value) in [
        ("hello", "world".to_owned()),
        ("generation", "7".to_owned()),
        ("00000000000000000", format!("{now} 0")),
        ("000000000000000A", format!("{now} 0")),
        ("000000000000000b", "soon".to_owned()),
        ("000000000000000c", format!("{now} 99999999999")),
        ("000000000000000d", format!("{minutes_ago} 0")),
        ("ÿ", "ÿ".to_owned()),
    ] {
        let command = ["HSET", "rate_limit:nodes", field, &value];
        redis.words::<u32>(command).await;
    }
    eventually("it is removed", async || {
        let fields: u32 = redis.command("HLEN rate_limit:nodes").await;
        for node in &nodes {
            assert_eq!(counted(node).await, 2.0);
        }
        (fields == 2).then_some(())
    })
    .await;
    let ttl: i64 = redis.command("TTL rate_limit:nodes").await;
    assert!((86_300..=86_400).contains(&ttl), "{ttl}");
    assert_never_away(&nodes).await;
    assert_lost_nothing(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_holds_something_else_stops_the_counting_and_nothing_else() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = start(&redis, 2).await;
    redis.command::<()>("SET rate_limit:nodes mine").await;
    for node in &nodes {
        node.logged("nodes that start now are not counted", 1).await;
        assert_eq!(node.client_at([127, 0, 61, 1]).get("/").await.status, 200);
    }
    assert_eq!(redis.logged("rate_limit:127.0.61.1").await.len(), 2);
    // A node can also start meanwhile. It knows of no other.
    let new = builder(&redis).start().await;
    assert_eq!(new.client_at([127, 0, 61, 1]).get("/").await.status, 200);
    assert_eq!(counted(&new).await, 1.0);
    let kept: String = redis.command("GET rate_limit:nodes").await;
    assert_eq!(kept, "mine");
    for node in &nodes {
        assert_eq!(counted(node).await, 2.0);
    }
    assert_never_away(&nodes).await;
    // Whoever empties the hash may have emptied all of Redis: the nodes make sure that it has what they know.
    redis.command::<u32>("DEL rate_limit:nodes").await;
    let nodes: Vec<Node> = nodes.into_iter().chain([new]).collect();
    count(&nodes, 3).await;
    for node in &nodes {
        node.breaker_is(false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_notice_each_loss_once_and_enter_the_same_generation() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = start(&redis, 3).await;
    for losses in 1..=3 {
        redis.command::<()>("FLUSHALL").await;
        eventually("all are in the next generation", async || {
            let beats = beats(&redis).await;
            let are_there = beats.values().all(|&(_, generation)| generation == losses);
            (beats.len() == 3 && are_there).then_some(())
        })
        .await;
        all_beat(&redis, 3, 3).await;
        for node in &nodes {
            node.logged("redis has lost", losses as usize).await;
            assert_eq!(counted(node).await, 3.0);
        }
    }
    // A node that starts takes the generation over.
    let new = builder(&redis).start().await;
    count(&nodes, 4).await;
    all_beat(&redis, 4, 2).await;
    let generations = beats(&redis).await.into_values();
    assert_eq!(generations.map(|(_, of)| of).collect::<Vec<_>>(), [3; 4]);
    assert_lost_nothing(&[new]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_deletes_of_one_client_is_no_loss() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let nodes = start(&redis, 2).await;
    let client = nodes[0].client_at([127, 0, 62, 1]);
    assert_eq!(client.get("/").await.status, 200);
    redis.command::<u32>("DEL rate_limit:127.0.62.1").await;
    all_beat(&redis, 2, 3).await;
    assert_lost_nothing(&nodes);
    assert_never_away(&nodes).await;
}

/// Nodes of the previous release write the mark of the clock, with three words, and do not beat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_nodes_of_the_previous_release_no_loss_is_seen_and_the_mark_stays_as_they_know_it() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let write_mark = async || {
        let mark = format!("0 0 {}", redis.now().await);
        redis.words::<()>(["SET", "rate_limit:clock", &mark]).await;
    };
    write_mark().await;
    let nodes = start(&redis, 2).await;
    for _ in 0..8 {
        let mark: String = redis.command("GET rate_limit:clock").await;
        let words: Result<Vec<i64>, _> = mark.split(' ').map(str::parse).collect();
        assert_eq!(words.map(|words| words.len()), Ok(3), "{mark}");
        write_mark().await;
        all_beat(&redis, 2, 1).await;
    }
    assert_eq!(counted(&nodes[0]).await, 2.0);
    assert_lost_nothing(&nodes);
    assert_never_away(&nodes).await;
}
