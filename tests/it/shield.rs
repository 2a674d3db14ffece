//! The flood shield in the real program: a node refuses a flood without asking Redis, and nothing that a client or another
//! node sees gives it away. `stores/shield.rs` compares its decisions with the model, on any schedule.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode, header::HeaderName};
use rustix::process::Signal;
use testkit::{Answer, Client, Node, NodeBuilder, Redis, Traffic, eventually, needs};

/// Two nodes, or a node and Redis, may disagree on the time by as much.
const CLOCK_ERROR: Duration = Duration::from_millis(10);

/// A node that waits for Redis longer than a busy machine stalls: except where Redis is killed, nothing here is about the
/// fallback.
fn node(redis: &Redis, quota: &str, write_back: &str) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.quota", quota)
        .set("limiter.write_back", write_back)
        .set("limiter.redis.timeout", "2s")
}

/// A request, and when it was on its way.
struct Exchange {
    sent: Instant,
    received: Instant,
    answer: Answer,
}

impl Exchange {
    async fn of(client: &Client) -> Self {
        let sent = Instant::now();
        let answer = client.get("/").await;
        Self {
            sent,
            received: Instant::now(),
            answer,
        }
    }

    fn admitted(&self) -> bool {
        match self.answer.status {
            StatusCode::OK => true,
            StatusCode::TOO_MANY_REQUESTS => false,
            _ => panic!("{:?}", self.answer),
        }
    }
}

/// Requests one after the other, each as soon as the one before is answered.
async fn flood(client: &Client, requests: usize) -> Vec<Exchange> {
    let mut flood = Vec::with_capacity(requests);
    for _ in 0..requests {
        flood.push(Exchange::of(client).await);
    }
    flood
}

/// Decisions that were made so, such as `source="shield"`.
async fn decisions(node: &Node, labels: &[&str]) -> usize {
    node.metric("shunt_limiter_decisions_total", labels).await as usize
}

async fn refused_by(node: &Node, source: &str) -> usize {
    let source = format!("source=\"{source}\"");
    decisions(node, &["outcome=\"refused\"", &source]).await
}

async fn becomes(node: &Node, metric: &str, value: f64) {
    eventually(&format!("{metric} is {value}"), async || {
        (node.metric(metric, &[]).await == value).then_some(())
    })
    .await;
}

/// Waits until the shield has refused another `count` requests.
async fn shield_refuses(node: &Node, count: usize) {
    let before = refused_by(node, "shield").await;
    eventually("the shield refuses", async || {
        (refused_by(node, "shield").await >= before + count).then_some(())
    })
    .await;
}

fn header_names(answer: &Answer) -> BTreeSet<&str> {
    answer.headers.keys().map(HeaderName::as_str).collect()
}

/// Rounded up, as in `Retry-After`.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_without_redis_and_its_client_cannot_tell() {
    needs!("redis-server");
    const LIMIT: usize = 10;
    const WINDOW: Duration = Duration::from_secs(60);
    const WRITE_BACK: Duration = Duration::from_secs(1);
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "1s").start().await;
    let client = node.client_at([127, 0, 20, 1]);
    let logged_before = redis.calls("zadd").await;

    let flood = flood(&client, 300).await;
    let admitted: Vec<_> = flood.iter().map(Exchange::admitted).collect();
    assert!(admitted[..LIMIT].iter().all(|admitted| *admitted));
    assert!(admitted[LIMIT..].iter().all(|admitted| !*admitted));
    let by_shield = refused_by(&node, "shield").await;
    let by_redis = refused_by(&node, "redis").await;
    assert_eq!(by_shield + by_redis, 290);
    assert!(by_redis < 40, "{by_redis} refusals asked Redis");
    // A write-back a second on top.
    let logged = redis.calls("zadd").await - logged_before;
    assert!(logged < 80, "Redis was told {logged} times");

    // What Redis has decided itself.
    let first = &flood[LIMIT].answer;
    for number in LIMIT..flood.len() {
        let Exchange {
            sent,
            received,
            answer,
        } = &flood[number];
        // The L-th newest when this one arrived, itself included.
        let deciding = &flood[number + 1 - LIMIT];
        let retry_after = answer.number("retry-after");
        let earliest = WINDOW.saturating_sub(*received - deciding.sent);
        assert!(
            retry_after >= whole_seconds(earliest),
            "{number}, early: {retry_after} s for {earliest:?}"
        );
        let latest = WINDOW - (*sent - deciding.received) + 2 * WRITE_BACK;
        assert!(
            retry_after <= whole_seconds(latest.min(WINDOW)),
            "{number}, late: {retry_after} s for {latest:?}"
        );

        let state = format!("\"default\";r=0;t={retry_after}");
        assert_eq!(answer.header("ratelimit"), Some(&*state), "{number}");
        assert_eq!(answer.number("x-ratelimit-reset"), retry_after, "{number}");
        for name in [
            "ratelimit-policy",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "cache-control",
            "content-type",
            "content-length",
        ] {
            assert_eq!(answer.header(name), first.header(name), "{number}, {name}");
        }
        assert_eq!(header_names(answer), header_names(first), "{number}");
        assert_eq!(answer.body, first.body, "{number}");
    }
    let policy = "\"default\";q=10;w=60";
    assert_eq!(first.header("ratelimit-policy"), Some(policy));
    assert_eq!(first.number("x-ratelimit-limit"), 10);
    assert_eq!(first.number("x-ratelimit-remaining"), 0);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.json()["error"], "Rate limit exceeded");

    // On many connections, and so on both threads.
    let many = (0..64).map(|_| {
        let client = node.client_at([127, 0, 20, 1]);
        tokio::spawn(async move { client.get("/").await.status })
    });
    for status in join_all(many).await {
        assert_eq!(status.expect("no panic"), 429);
    }
    let other = node.client_at([127, 0, 20, 2]).get("/").await;
    assert_eq!(
        (other.status.as_u16(), other.number("x-ratelimit-remaining")),
        (200, 9),
        "nobody else is concerned"
    );
    assert_eq!(decisions(&node, &["source=\"local\""]).await, 0);
    becomes(&node, "shunt_limiter_shielded_clients", 0.0).await;
}

/// Twice the write-back interval is what a client may be told too much: whoever is not fast enough for that is told the
/// very second.
#[tokio::test]
async fn a_client_that_is_refused_but_no_flood_is_told_the_exact_moment() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis, "3/minute", "10ms").start().await;
    let client = node.client_at([127, 0, 20, 3]);
    let mut exchanges: Vec<Exchange> = Vec::new();
    for number in 0..6 {
        exchanges.push(Exchange::of(&client).await);
        assert_eq!(exchanges[number].admitted(), number < 3);
        if number >= 3 {
            // More than a second ago: the shield would say that it is now.
            let deciding = &exchanges[number - 2];
            let least = exchanges[number].sent - deciding.received;
            let most = exchanges[number].received - deciding.sent;
            let exact = whole_seconds(Duration::from_secs(60) - most)
                ..=whole_seconds(Duration::from_secs(60) - least);
            let retry_after = exchanges[number].answer.number("retry-after");
            assert!(exact.contains(&retry_after), "{retry_after}, not {exact:?}");
        }
        tokio::time::sleep(Duration::from_millis(550)).await;
    }
    assert_eq!(refused_by(&node, "shield").await, 0);
    assert_eq!(refused_by(&node, "redis").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_refuses_by_itself_counts_on_the_others() {
    needs!("redis-server");
    const LIMIT: usize = 5;
    const WINDOW: Duration = Duration::from_secs(4);
    const WRITE_BACK: Duration = Duration::from_millis(250);
    /// How long a busy machine may take over a write.
    const MARGIN: Duration = Duration::from_secs(2);
    let redis = Redis::start().await;
    let first = node(&redis, "5/4s", "250ms").start().await;
    let second = node(&redis, "5/4s", "250ms").start().await;
    let client = [127, 0, 20, 4];
    let flood = Traffic::start(&[first.client_at(client)], |client, _| {
        client.request(Method::GET, "/")
    });
    shield_refuses(&first, 10).await;

    // Until what Redis has decided has left the window.
    let shielded = Instant::now();
    let before = (
        refused_by(&first, "shield").await,
        refused_by(&first, "redis").await,
    );
    while shielded.elapsed() < WINDOW + Duration::from_millis(500) {
        let now = redis.now().await;
        let log = redis.logged("rate_limit:127.0.20.4").await;
        assert!(log.len() <= LIMIT + 1, "{log:?}");
        let newest = log.last().expect("the client is known");
        let age = Duration::from_micros(u64::try_from(now - newest).unwrap_or(0));
        assert!(age < WRITE_BACK + MARGIN, "written {age:?} late");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let without = refused_by(&first, "shield").await - before.0;
    let asked = refused_by(&first, "redis").await - before.1;
    assert!(without > 5 * asked, "mostly the shield: {without}, {asked}");

    let answer = second.client_at(client).get("/").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(refused_by(&second, "redis").await, 1);
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), LIMIT, "{seen:?}");
    assert_eq!(seen.total(), LIMIT + seen.count(429), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_two_nodes_is_admitted_once_for_as_long_as_it_lasts() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let builder = node(&redis, "10/3s", "250ms");
    let nodes = [builder.start().await, builder.start().await];
    let clients = [&nodes[0], &nodes[0], &nodes[1], &nodes[1]];
    let clients = clients.map(|node| node.client_at([127, 0, 20, 5]));
    let flood = Traffic::start(&clients, |client, _| client.request(Method::GET, "/"));
    tokio::time::sleep(Duration::from_secs(7)).await;
    for node in &nodes {
        shield_refuses(node, 10).await;
    }
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), 10, "{seen:?}");
    assert_eq!(seen.total(), 10 + seen.count(429), "{seen:?}");
    for node in &nodes {
        let without = refused_by(node, "shield").await;
        let asked = refused_by(node, "redis").await;
        assert!(without > 5 * asked, "mostly the shield: {without}, {asked}");
    }
}

/// When a client comes back.
#[derive(Clone, Copy)]
enum Return {
    /// Just before the first moment at which it may be admitted.
    JustBefore,
    /// Just after the last moment at which it may be refused.
    JustAfter,
    /// When `Retry-After` is over.
    AsTold,
}

/// A flood that becomes slower towards its end, so that the exact moment is well before what the shield tells.
async fn fading_flood(client: &Client) -> Vec<Exchange> {
    let mut flood = flood(client, 60).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        flood.push(Exchange::of(client).await);
    }
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_has_ended_is_admitted_as_told_and_not_before_its_time() {
    needs!("redis-server");
    const LIMIT: usize = 5;
    const WINDOW: Duration = Duration::from_secs(3);
    let redis = Redis::start().await;
    let builder = node(&redis, "5/3s", "250ms");
    let nodes = [builder.start().await, builder.start().await];

    // Each is a client of its own, as whoever is early has to wait again.
    let clients = [
        (1, Return::JustBefore, &nodes[0]),
        (2, Return::JustBefore, &nodes[1]),
        (3, Return::JustAfter, &nodes[0]),
        (4, Return::JustAfter, &nodes[1]),
        (5, Return::AsTold, &nodes[0]),
        (6, Return::AsTold, &nodes[1]),
    ];
    let clients = clients.map(async |(number, return_, node)| {
        let mut client = nodes[0].client_at([127, 0, 21, number]);
        let flood = fading_flood(&client).await;
        let last = flood.last().expect("the last");
        assert!(!last.admitted());
        // Before the next one comes, this is the L-th newest.
        let deciding = &flood[flood.len() - LIMIT];
        let moment = match return_ {
            Return::JustBefore => deciding.sent + WINDOW - Duration::from_millis(60),
            Return::JustAfter => deciding.received + WINDOW + CLOCK_ERROR,
            Return::AsTold => {
                last.received + Duration::from_secs(last.answer.number("retry-after"))
            }
        };
        client.move_to(node);
        tokio::time::sleep_until(moment.into()).await;
        let back = Exchange::of(&client).await;
        match return_ {
            // On a machine that stalled for that long, nothing can be said.
            Return::JustBefore if back.received >= deciding.sent + WINDOW => {}
            Return::JustBefore => assert!(!back.admitted(), "client {number}"),
            _ => assert!(back.admitted(), "client {number}: {:?}", back.answer),
        }
    });
    join_all(clients).await;
    assert!(refused_by(&nodes[0], "shield").await > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_leaves_what_it_has_refused_behind() {
    needs!("redis-server");
    const LIMIT: usize = 10;
    const WRITE_BACK: Duration = Duration::from_secs(10);
    let redis = Redis::start().await;
    let started = Instant::now();
    // It refuses on while it drains.
    let mut node = node(&redis, "10/minute", "10s")
        .set("http.drain", "300ms")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 6]);
    let flood = tokio::spawn(async move {
        let mut refused = Vec::new();
        loop {
            let sent = Instant::now();
            match Answer::to(client.request(Method::GET, "/")).await {
                Ok(answer) if answer.status == 429 => refused.push(sent),
                Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                // The node is gone.
                Err(_) => return refused,
            }
        }
    });
    shield_refuses(&node, 50).await;
    let (redis_time, at) = (redis.now().await, Instant::now());
    shield_refuses(&node, 50).await;
    let log = redis.logged("rate_limit:127.0.20.6").await;
    // On a machine that is that slow, it is told without the end of the node.
    if started.elapsed() < WRITE_BACK {
        assert!(log.iter().all(|&time| time < redis_time), "too early");
    }
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);

    let refused = flood.await.expect("no panic");
    // Whatever was answered last is in the log, and so is whatever counts of what came before.
    let deciding = refused[refused.len() - LIMIT - 1];
    let last = refused[refused.len() - 1];
    let log = redis.logged("rate_limit:127.0.20.6").await;
    assert_eq!(log.len(), LIMIT + 1, "{log:?}");
    for (what, time, sent) in [("oldest", log[0], deciding), ("newest", log[LIMIT], last)] {
        let after = i64::try_from((sent - at).as_micros()).expect("small");
        let tolerance = CLOCK_ERROR.as_micros() as i64;
        assert!(
            time >= redis_time + after - tolerance,
            "the {what} in the log came before: {time}, {after} after {redis_time}"
        );
    }
}

/// Everything is in Redis or one timeout has passed: not one for every few clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_does_not_wait_for_a_redis_that_is_frozen() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let mut node = node(&redis, "1/minute", "10s")
        .set("limiter.redis.timeout", "1s")
        .start()
        .await;
    for number in 0..=255 {
        flood(&node.client_at([127, 0, 23, number]), 3).await;
    }
    assert!(refused_by(&node, "shield").await > 200);
    redis.freeze();
    let signalled = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_redis_comes_back_empty_the_shield_has_forgotten_too() {
    needs!("redis-server");
    let mut redis = Redis::start().await;
    // The flood is still on when Redis is back.
    let node = node(&redis, "10/minute", "5s").start().await;
    let flood = Traffic::start(&[node.client_at([127, 0, 20, 7])], |client, _| {
        client.request(Method::GET, "/")
    });
    shield_refuses(&node, 50).await;
    assert_eq!(flood.seen().count(200), 10);

    redis.kill();
    becomes(&node, "shunt_limiter_breaker_open", 1.0).await;
    becomes(&node, "shunt_limiter_shielded_clients", 0.0).await;
    eventually("this node refuses by its own count", async || {
        (refused_by(&node, "local").await > 50).then_some(())
    })
    .await;
    assert_eq!(flood.seen().count(200), 20, "the same quota, in process");

    redis.restart().await;
    becomes(&node, "shunt_limiter_breaker_open", 0.0).await;
    shield_refuses(&node, 50).await;
    let seen = flood.stop().await;
    assert_eq!(seen.count(200), 30, "the same quota, from the beginning");
    assert_eq!(seen.total(), 30 + seen.count(429), "{seen:?}");
    assert_eq!(seen.broken, [] as [&str; 0]);
    let admitted = decisions(&node, &["outcome=\"admitted\"", "source=\"redis\""]);
    assert_eq!(admitted.await, 20);
}

#[tokio::test]
async fn without_the_shield_every_refusal_asks_redis() {
    needs!("redis-server");
    const REQUESTS: usize = 100;
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "250ms")
        .set("limiter.shield", "false")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 8]);
    let logged = redis.calls("zadd").await;
    let flood = flood(&client, REQUESTS).await;
    let admitted = flood.iter().filter(|exchange| exchange.admitted()).count();
    assert_eq!(admitted, 10);
    assert_eq!(redis.calls("zadd").await - logged, REQUESTS as u64);
    assert_eq!(refused_by(&node, "redis").await, REQUESTS - 10);
    assert_eq!(decisions(&node, &["source=\"shield\""]).await, 0);
    becomes(&node, "shunt_limiter_shielded_clients", 0.0).await;
}

#[tokio::test]
async fn a_flood_under_one_policy_is_none_under_another() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let node = node(&redis, "10/minute", "1s")
        .set("limiter.policies.shorten.quota", "3/minute")
        .set("limiter.policies.shorten.routes", "shorten")
        .set("limiter.policies.follow.quota", "1000/minute")
        .set("limiter.policies.follow.routes", "follow")
        .set("limiter.policies.total.quota", "5000/day")
        .set("limiter.policies.total.routes", "shorten")
        .start()
        .await;
    let client = node.client_at([127, 0, 20, 9]);
    let state = |answer: &Answer, name: &str| {
        let states = answer.header("ratelimit").expect("RateLimit").split(", ");
        let prefix = format!("\"{name}\";r=");
        let mut states = states.filter_map(|state| state.strip_prefix(&*prefix));
        let (remaining, _) = states.next()?.split_once(';')?;
        remaining.parse::<usize>().ok()
    };
    for number in 1..=100 {
        let answer = client.shorten("https://example.com/").await;
        let expected = if number <= 3 { 200 } else { 429 };
        assert_eq!(answer.status, expected, "{number}: {answer:?}");
        assert_eq!(
            state(&answer, "shorten"),
            Some(3_usize.saturating_sub(number))
        );
        // What one policy refuses counts under the other.
        assert_eq!(state(&answer, "total"), Some(5_000 - number), "{answer:?}");

        let answer = client.get("/Ab3xY9").await;
        assert_eq!(answer.status, 404, "{number}: {answer:?}");
        assert_eq!(state(&answer, "follow"), Some(1_000 - number), "{answer:?}");
    }
    let by_shield = ["source=\"shield\""];
    assert!(decisions(&node, &by_shield).await > 50);
    let of_shorten = ["policy=\"shorten\"", by_shield[0]];
    assert_eq!(
        decisions(&node, &of_shorten).await,
        decisions(&node, &by_shield).await
    );
}
