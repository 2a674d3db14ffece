//! A change takes effect on every node that remembers the link, even if the program that makes it knows of no node.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use sqlx::postgres::PgListener;
use testkit::{Node, Traffic, execute, needs, within};
use tokio::time::{Instant, sleep_until, timeout};

use super::{HEARD, Pair, TARGET, counted, follow, make, status};

/// So many rows that a statement that removes them is announced as one change.
const MANY: &str = "
    INSERT INTO urls (short_code, original_url, url_sha256)
    SELECT 'many-' || n, 'https://example.com/' || n, sha256(n::text::bytea)
    FROM generate_series(1, 1500) AS n";

/// The database announces the change, so an administrator with psql need not.
#[tokio::test]
async fn a_change_counts_on_every_node_whoever_makes_it() {
    needs!("postgres");
    let Pair { a, b, database } = Pair::start(|node| node).await;
    let mut psql = database.connect().await;
    execute(&mut psql, MANY).await;
    for (number, (statement, expected, location)) in [
        ("DELETE FROM urls WHERE short_code = $", 404, None),
        (
            "UPDATE urls SET original_url = 'https://example.org/' WHERE short_code = $",
            302,
            Some("https://example.org/"),
        ),
        (
            "UPDATE urls SET expires_at = now() - interval '1s' WHERE short_code = $",
            410,
            None,
        ),
        (
            "UPDATE urls SET max_visits = 1, visits = 1 WHERE short_code = $",
            410,
            None,
        ),
        (
            "UPDATE urls SET short_code = 'renamed' WHERE short_code = $",
            404,
            None,
        ),
        (
            "DELETE FROM urls WHERE short_code = $ OR short_code LIKE 'many-%'",
            404,
            None,
        ),
        ("TRUNCATE urls", 404, None),
    ]
    .into_iter()
    .enumerate()
    {
        let code = format!("link-{number}");
        make(&a.client(), &code, &[]).await;
        let url = format!("https://example.com/bystander/{number}");
        let bystander = a.client().shorten(&url).await.code();
        for node in [&a, &b] {
            follow(node, &code).await;
            follow(node, &bystander).await;
        }
        let statement = statement.replace('$', &format!("'{code}'"));
        execute(&mut psql, &statement).await;
        for node in [&a, &b] {
            within(HEARD, &statement, async || {
                let answer = node.client().get(&format!("/{code}")).await;
                let now = (answer.status.as_u16(), answer.header("location"));
                let before = now == (302, Some(TARGET));
                assert!(before || now == (expected, location), "{now:?}");
                (!before).then_some(())
            })
            .await;
            // A change of one link leaves the others fresh.
            let hits = counted(node, "hit").await;
            let status = status(&node.client(), &bystander).await;
            let remembered = counted(node, "hit").await == hits + 1.0;
            let all = statement.starts_with("TRUNCATE");
            assert_eq!(status, if all { 404 } else { 302 }, "{statement}");
            let many = all || statement.contains("many");
            assert_eq!(remembered, !many, "{statement}");
        }
    }
}

/// A notification for each row would be more work than looking up again the links in use.
#[tokio::test]
async fn a_mass_deletion_is_announced_as_one_change() {
    needs!("postgres");
    let Pair { a, database, .. } = Pair::start(|node| node).await;
    let mut psql = database.connect().await;
    let mut listener = PgListener::connect(&database.url())
        .await
        .expect("postgres");
    listener.listen("shunt_links").await.expect("LISTEN");
    let mut announced = async || {
        execute(&mut psql, "NOTIFY shunt_links, 'end'").await;
        let mut payloads = Vec::new();
        loop {
            let notification = timeout(Duration::from_secs(15), listener.recv()).await;
            let notification = notification.expect("in time").expect("postgres");
            match notification.payload() {
                "end" => return payloads,
                payload => payloads.push(payload.to_owned()),
            }
        }
    };
    let mut psql = database.connect().await;
    a.client().shorten(TARGET).await.code();
    execute(&mut psql, MANY).await;
    let none: [&str; 0] = [];
    assert_eq!(announced().await, none, "no node knew those codes");

    let delete = "DELETE FROM urls WHERE short_code IN ('many-1', 'many-2')";
    execute(&mut psql, delete).await;
    assert_eq!(announced().await, ["many-1", "many-2"]);
    execute(&mut psql, "DELETE FROM urls").await;
    assert_eq!(announced().await, ["*"]);
    // A visit is no change: links whose visits are limited are not remembered.
    make(&a.client(), "limited", &[("max_visits", "3")]).await;
    assert_eq!(announced().await, ["limited"]);
    assert_eq!(status(&a.client(), "limited").await, 302);
    assert_eq!(announced().await, none);
}

/// Look-ups are under way at every moment. None of them may bring back what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_everybody_follows_is_gone_when_it_is_deleted_and_back_when_it_is_made_again() {
    needs!("postgres");
    let Pair { a, b, database } = Pair::start(|node| node).await;
    let mut psql = database.connect().await;
    make(&a.client(), "popular", &[]).await;
    let clients = vec![b.client(); 8];
    let traffic = Traffic::start(&clients, |client, _| {
        client.request(Method::GET, "/popular")
    });
    traffic.answers(100).await;
    for _ in 0..5 {
        let only = async |status: u16, why: &str| {
            within(HEARD, why, async || {
                traffic.answers(50).await;
                let seen = traffic.take();
                (seen.count(status) == seen.total()).then_some(())
            })
            .await;
            traffic.answers(200).await;
            let seen = traffic.take();
            assert_eq!(seen.count(status), seen.total(), "{why}: {seen:?}");
        };
        only(302, "it is there").await;
        execute(&mut psql, "DELETE FROM urls").await;
        only(404, "it is deleted").await;
        make(&a.client(), "popular", &[]).await;
    }
    assert_eq!(traffic.stop().await.broken, [] as [&str; 0]);
}

fn aliases() -> Vec<String> {
    (0..30).map(|number| format!("alias-{number}")).collect()
}

/// Asks for codes that there are no links of, until the node is sure to remember that.
async fn ask_too_early(node: &Node, codes: &[String]) {
    let client = node.client();
    let remembered = counted(node, "negative_hit").await;
    for _ in 0..2 {
        let statuses = join_all(codes.iter().map(|code| status(&client, code))).await;
        assert_eq!(statuses, vec![404; codes.len()]);
    }
    let asked = codes.len() as f64;
    assert_eq!(counted(node, "negative_hit").await, remembered + asked);
}

/// The random code of a deduplicated link is not announced, and with the triggers disabled neither is anything else.
#[tokio::test]
async fn a_link_is_found_everywhere_once_the_memory_of_a_miss_is_over() {
    needs!("postgres");
    let miss_ttl = Duration::from_millis(1_500);
    let pair = Pair::start(|node| node.set("cache.miss_ttl", "1500ms")).await;
    let mut psql = pair.database.connect().await;
    execute(&mut psql, "ALTER TABLE urls DISABLE TRIGGER ALL").await;
    let codes = aliases();
    ask_too_early(&pair.a, &codes).await;
    ask_too_early(&pair.b, &codes).await;
    for code in &codes {
        make(&pair.b.client(), code, &[]).await;
        let status = status(&pair.b.client(), code).await;
        assert_eq!(status, 302, "at once where it is made");
    }
    let acknowledged = Instant::now();
    // Sleeps to test the promise itself, not to wait for something.
    sleep_until(acknowledged + miss_ttl).await;
    for code in &codes {
        assert_eq!(status(&pair.a.client(), code).await, 302, "{code}");
    }
}

#[tokio::test]
async fn an_alias_is_found_everywhere_however_long_misses_are_remembered() {
    needs!("postgres");
    let pair = Pair::start(|node| node.set("cache.miss_ttl", "1m")).await;
    let codes = aliases();
    ask_too_early(&pair.a, &codes).await;
    for code in &codes {
        make(&pair.b.client(), code, &[]).await;
    }
    within(HEARD, "the aliases are found", async || {
        let client = pair.a.client();
        let statuses = join_all(codes.iter().map(|code| status(&client, code))).await;
        (statuses == vec![302; codes.len()]).then_some(())
    })
    .await;
}
