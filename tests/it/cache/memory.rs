//! What is remembered, and for how long.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use testkit::{Answer, Postgres, RawConnection, execute, needs, within};

use super::{Pair, TARGET, asked, counted, follow, make, node, start, status};

#[tokio::test]
async fn a_link_that_was_followed_is_served_from_memory() {
    needs!("postgres");
    let Pair { a, b, .. } = Pair::start(|node| node).await;
    let code = a.client().shorten(TARGET).await.code();
    let path = format!("/{code}");
    let labels = ["store=\"postgres\"", "operation=\"resolve\""];
    for node in [&a, &b] {
        let client = node.client();
        for number in 1..=10 {
            let answer = client.get(&path).await;
            assert_eq!(answer.status, 302, "{number}");
            assert_eq!(answer.header("location"), Some(TARGET), "{number}");
        }
        let head = Answer::to(client.request(Method::HEAD, &path)).await;
        assert_eq!(head.expect("an answer").status, 302);
        let asked = node.metric("shunt_store_duration_seconds_count", &labels);
        assert_eq!(asked.await, 1.0);
        assert_eq!(counted(node, "miss").await, 1.0);
        assert_eq!(counted(node, "hit").await, 10.0);
        let links = node.metric("shunt_cache_entries", &["kind=\"link\""]);
        assert_eq!(links.await, 1.0);
    }
}

#[tokio::test]
async fn without_a_capacity_every_redirect_asks_the_database() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node().postgres(&database).set("cache.capacity", "0");
    let node = node.start().await;
    let code = node.client().shorten(TARGET).await.code();
    for number in 1..=10 {
        assert_eq!(status(&node.client(), &code).await, 302);
        assert_eq!(asked(&node).await, f64::from(number));
    }
    let delete = format!("DELETE FROM urls WHERE short_code = '{code}'");
    execute(&mut database.connect().await, &delete).await;
    assert_eq!(status(&node.client(), &code).await, 404, "at once");
}

#[tokio::test]
async fn a_link_expires_in_time_although_it_is_remembered() {
    needs!("postgres");
    let Pair { a, b, .. } = Pair::start(|node| node).await;
    let began = Instant::now();
    make(&a.client(), "short-lived", &[("expires_in", "3")]).await;
    follow(&b, "short-lived").await;
    let asked_before = asked(&b).await;
    within(
        Duration::from_secs(4),
        "the link expires",
        async || match status(&b.client(), "short-lived").await {
            410 => Some(()),
            status => {
                assert_eq!(status, 302);
                None
            }
        },
    )
    .await;
    let lived = began.elapsed();
    assert!(lived >= Duration::from_secs(3), "{lived:?}");
    assert_eq!(asked(&b).await, asked_before, "the node knew it by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_for_three_visits_makes_three_redirects_whichever_nodes_are_asked() {
    needs!("postgres");
    let Pair { a, b, .. } = Pair::start(|node| node).await;
    make(&a.client(), "three", &[("max_visits", "3")]).await;
    // An onlooker uses up nothing, and the node remembers no answer that could lead a client to the target without a
    // visit.
    for node in [&a, &b, &a, &b] {
        let head = node.client().request(Method::HEAD, "/three");
        assert_eq!(Answer::to(head).await.expect("an answer").status, 200);
    }
    let clients = [a.client(), b.client()];
    let visits = join_all((0..20).map(|number| status(&clients[number % 2], "three")));
    let mut statuses = visits.await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![302; 3], vec![410; 17]].concat());
}

/// A request for an old link may wait for a tenth of a second, and does not wait for a slow database.
#[tokio::test]
async fn an_old_link_is_looked_up_again_and_served_as_it_was_if_that_takes_long() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node().postgres(&database).set("cache.ttl", "1s");
    let node = start(&node.set("database.timeout", "20s")).await;
    let path = format!("/{}", node.client().shorten(TARGET).await.code());
    let answer = async || {
        let answer = node.client().get(&path).await;
        assert_eq!(answer.status, 302);
        assert!(answer.took < Duration::from_secs(5), "{:?}", answer.took);
    };
    let until_asked = async |times: f64| {
        let bound = Duration::from_secs(3);
        within(bound, "the link is looked up", async || {
            answer().await;
            (asked(&node).await == times).then_some(())
        })
        .await;
    };
    until_asked(1.0).await;
    until_asked(2.0).await;

    let mut holder = database.connect().await;
    execute(&mut holder, "BEGIN").await;
    execute(&mut holder, "LOCK TABLE urls IN ACCESS EXCLUSIVE MODE").await;
    let before = counted(&node, "stale").await;
    within(Duration::from_secs(3), "the link grows old", async || {
        answer().await;
        (counted(&node, "stale").await >= before + 3.0).then_some(())
    })
    .await;
    execute(&mut holder, "ROLLBACK").await;
    let before = counted(&node, "hit").await;
    within(
        Duration::from_secs(3),
        "the link is new again",
        async || {
            answer().await;
            (counted(&node, "hit").await >= before + 3.0).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_does_not_push_out_the_links_that_are_in_use() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node().postgres(&database).set("database.timeout", "20s");
    let node = start(&node.set("cache.capacity", "1000")).await;
    let client = node.client();
    let mut links = Vec::new();
    for number in 0..100 {
        let url = format!("https://example.com/{number}");
        links.push(client.shorten(&url).await.code());
    }
    for code in &links {
        assert_eq!(status(&client, code).await, 302);
    }

    let scans = (0..16).map(|scan| {
        let address = node.address();
        tokio::spawn(async move {
            let mut connection = RawConnection::open(address).await;
            for batch in 0..25 {
                // Twice each: what is asked for again looks as if it were in use.
                let unknown = (0..50).map(|number| format!("scan-{scan}-{batch}-{number}"));
                let request =
                    |code: &String| format!("GET /{code} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2);
                let requests: Vec<String> = unknown.map(|code| request(&code)).collect();
                assert!(connection.send(requests.concat().as_bytes()).await);
                let mut answers = String::new();
                while answers.matches("HTTP/1.1 404").count() < 100 {
                    let more = connection.receive(Duration::from_secs(15)).await;
                    let more = more.expect("the connection stays");
                    assert!(!more.is_empty(), "no more than {answers}");
                    answers.push_str(&more);
                }
            }
        })
    });
    for scan in join_all(scans).await {
        scan.expect("no panic");
    }
    assert!(counted(&node, "miss").await >= 20_000.0);

    let (hits, asked_before) = (counted(&node, "hit").await, asked(&node).await);
    for code in &links {
        assert_eq!(status(&client, code).await, 302);
    }
    assert_eq!(counted(&node, "hit").await, hits + 100.0);
    assert_eq!(asked(&node).await, asked_before);
}
