//! An administrator steps Redis's clock while it runs.

use std::time::{Duration, Instant};

use reqwest::Method;
use testkit::{Answer, Node, NodeBuilder, Redis, Traffic, eventually, needs, within};

const LIMIT: usize = 4;
const WINDOW: Duration = Duration::from_secs(10);

/// A node that waits for Redis longer than a busy machine stalls: these tests are not about timeouts.
fn node(redis: &Redis) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.quota", "4/10s")
        .set("limiter.redis.timeout", "10s")
}

fn steps_noticed(node: &Node) -> usize {
    node.log_lines("redis's clock was set").len()
}

/// Waits until every node has measured that Redis's clock is `offset` seconds ahead.
async fn all_notice(nodes: &[&Node], offset: i64) {
    for node in nodes {
        eventually("the step is noticed", async || {
            let behind = node.metric("shunt_limiter_wall_clock_ahead_seconds", &[]);
            ((behind.await + offset as f64).abs() < 1.0).then_some(())
        })
        .await;
    }
}

fn assert_not_locked_out(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 429, "{what}: {answer:?}");
    let retry_after = Duration::from_secs(answer.number("retry-after"));
    assert!(retry_after <= WINDOW, "{what}: {retry_after:?}");
}

/// Checks that a new client has exactly its quota on all nodes together. Returns when it began to use it: if the
/// machine stalls for a window, later answers prove nothing.
async fn has_a_quota(nodes: &[&Node], client: [u8; 4], what: &str) -> Instant {
    let began = Instant::now();
    for number in 0..LIMIT + nodes.len() {
        let node = nodes[number % nodes.len()];
        let answer = node.client_at(client).get("/").await;
        if number < LIMIT {
            assert_eq!(answer.status, 200, "{what}, {number}: {answer:?}");
        } else if began.elapsed() < WINDOW {
            assert_not_locked_out(&answer, what);
        }
    }
    began
}

/// Checks that clients are admitted after a window's silence.
async fn are_admitted_after_a_window(node: &Node, clients: &[[u8; 4]], what: &str) {
    tokio::time::sleep(WINDOW + Duration::from_millis(50)).await;
    for client in clients {
        let answer = node.client_at(*client).get("/").await;
        assert_eq!(answer.status, 200, "{what}, {client:?}: {answer:?}");
    }
}

/// Sets Redis's clock from one offset to the next while two nodes serve a flood. A third node starts afterwards.
async fn a_step(redis: &Redis, nodes: &[&Node; 2], number: u8, from: i64, to: i64) {
    let what = format!("from {from:+} s to {to:+} s");
    let [first, second] = *nodes;
    let flooding = [127, 0, 40, number];
    let clients = nodes.map(|node| node.client_at(flooding));
    let flood = Traffic::start(&clients, |client, _| client.request(Method::GET, "/"));
    flood.answers(100).await;
    let refused = [127, 0, 41, number];
    let refused_since = has_a_quota(nodes, refused, &what).await;

    let before = nodes.map(steps_noticed);
    redis.set_clock(to);
    all_notice(nodes, to).await;
    let third = node(redis).start().await;
    let all = [first, second, &third];
    has_a_quota(&all, [127, 0, 42, number], &what).await;
    let answer = third.client_at(refused).get("/").await;
    match answer.status.as_u16() {
        // Redis has expired the client's key, which gives the client one more quota.
        200 if to > from || refused_since.elapsed() >= WINDOW => {}
        _ => assert_not_locked_out(&answer, &what),
    }
    flood.answers(100).await;
    let seen = flood.stop().await;
    let most = if to > from { 2 * LIMIT } else { LIMIT };
    assert!(seen.count(200) <= most, "{what}: {seen:?}");
    assert_eq!(
        seen.total(),
        seen.count(200) + seen.count(429),
        "{what}: {seen:?}"
    );
    // The flood is over for this node, which refuses no client because of entries from the future.
    are_admitted_after_a_window(first, &[refused, flooding], &what).await;
    assert_eq!(
        steps_noticed(&third),
        0,
        "{what}: it was told by the others"
    );
    for (node, before) in nodes.iter().zip(before) {
        assert_eq!(steps_noticed(node), before + 1, "{what}: one line");
        let local = node.metric("shunt_limiter_decisions_total", &["source=\"local\""]);
        assert_eq!(local.await, 0.0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_redis_clock_locks_no_client_out_and_costs_a_quota_at_most() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start_with_clock().await;
    let nodes = [node(&redis).start().await, node(&redis).start().await];
    let nodes = [&nodes[0], &nodes[1]];
    let mut offset = 0;
    // An hour back, five seconds back, five seconds forward, an hour forward twice, and an hour back.
    for (number, step) in [-3600, -5, 5, 3600, 3600, -3600].into_iter().enumerate() {
        let number = u8::try_from(number).expect("small");
        a_step(&redis, &nodes, number, offset, offset + step).await;
        offset += step;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_after_a_step_that_no_node_has_seen_goes_on_from_where_the_logs_are() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start_with_clock().await;
    let mut before = node(&redis).start().await;
    let client = [127, 0, 43, 1];
    let began = has_a_quota(&[&before], client, "before").await;
    // Wait until the node has confirmed the mark after the client's requests.
    let measured = redis.calls("time").await;
    eventually("the mark is confirmed", async || {
        (redis.calls("time").await > measured + 2).then_some(())
    })
    .await;
    before.kill();
    redis.set_clock(-3600);
    let after = node(&redis).start().await;
    let answer = after.client_at(client).get("/").await;
    if began.elapsed() < WINDOW {
        assert_not_locked_out(&answer, "after");
    }
    has_a_quota(&[&after], [127, 0, 43, 2], "after").await;
    // The node knows only to a second when the logs were last written.
    tokio::time::sleep(Duration::from_secs(1)).await;
    are_admitted_after_a_window(&after, &[client], "after").await;
    after.logged("redis's clock was set back", 1).await;
}

/// The other node notices the step a moment later. If this node followed the clock meanwhile, one node would take
/// entries of the other for too old, or for entries from the future.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_right_after_a_step_forward_goes_by_what_the_others_make_of_it() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start_with_clock().await;
    let running = node(&redis).start().await;
    for round in 1..=3 {
        let measured = redis.calls("time").await;
        eventually("the mark is confirmed", async || {
            (redis.calls("time").await > measured + 1).then_some(())
        })
        .await;
        redis.set_clock(600 * i64::from(round));
        let started = node(&redis).start().await;
        has_a_quota(&[&running, &started], [127, 0, 47, round], "at once").await;
    }
}

/// Any program that can write to Redis can plant something that looks like a mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_no_node_can_have_written_is_replaced_and_harms_no_client() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut nodes = [node(&redis).start().await, node(&redis).start().await];
    for (number, planted) in [
        (1, "0 0 9007199254740991"),
        (2, "5 7258248000000000 5"),
        (3, "18446744073709551615 9007199254740000 9007199254740000"),
        (4, "1 -2000000000000000 1"),
    ] {
        redis
            .words::<()>(["SET", "rate_limit:clock", planted])
            .await;
        if number % 2 == 0 {
            nodes[0] = node(&redis).start().await;
        }
        eventually("it is replaced", async || {
            let stands: String = redis.command("GET rate_limit:clock").await;
            (stands != planted).then_some(())
        })
        .await;
        let [one, other] = &nodes;
        has_a_quota(&[one, other], [127, 0, 48, number], planted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_step_the_shield_outlives_neither_the_flood_nor_the_log() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start_with_clock().await;
    let node = node(&redis).set("limiter.quota", "4/minute").start().await;
    let client = node.client_at([127, 0, 44, 1]);
    let flood = Traffic::start(std::slice::from_ref(&client), |client, _| {
        client.request(Method::GET, "/")
    });
    eventually("the shield refuses", async || {
        let refused = node.metric("shunt_limiter_decisions_total", &["source=\"shield\""]);
        (refused.await > 50.0).then_some(())
    })
    .await;
    redis.set_clock(-3600);
    all_notice(&[&node], -3600).await;
    flood.stop().await;
    within(
        Duration::from_secs(10),
        "the flood is forgotten",
        async || {
            let clients = node.metric("shunt_limiter_shielded_clients", &[]).await;
            (clients == 0.0).then_some(())
        },
    )
    .await;
    redis.command::<u32>("DEL rate_limit:127.0.44.1").await;
    assert_eq!(client.get("/").await.status, 200);
}

/// The mark is lost, and no node runs that could write it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_mark_is_lost_with_all_nodes_a_client_is_locked_out_no_longer_than_a_window() {
    needs!("redis-server", "libfaketimeMT.so.1");
    let redis = Redis::start_with_clock().await;
    let mut before = node(&redis).start().await;
    let client = [127, 0, 45, 1];
    has_a_quota(&[&before], client, "before").await;
    before.kill();
    redis.set_clock(-3600);
    redis.command::<u32>("DEL rate_limit:clock").await;
    let after = node(&redis).start().await;
    has_a_quota(&[&after], client, "as one that has used nothing").await;
}
