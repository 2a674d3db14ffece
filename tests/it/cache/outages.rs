//! The node cannot hear of changes, or cannot ask the database, and then it can again.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use reqwest::Method;
use sqlx::PgConnection;
use testkit::{
    Answer, Client, Database, Node, Postgres, Traffic, eventually, execute, needs, within,
};

use super::{HEARD, TARGET, asked, counted, follow, make, node, start, status, watches};

/// `database.timeout` of these tests.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer than a bound a request may take on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_millis(1_500);

const LINKS: RangeInclusive<u32> = 1..=20;

fn known(number: u32) -> String {
    format!("known-{number}")
}

/// A node that remembers some links; its database has more.
async fn node_that_remembers(database: &Database) -> Node {
    let builder = node()
        .postgres(database)
        .set("database.timeout", "2s")
        .set("cache.miss_ttl", "0s");
    let node = start(&builder).await;
    let client = node.client();
    for number in LINKS {
        make(&client, &known(number), &[]).await;
    }
    make(&client, "never-followed", &[]).await;
    // Announcements come in order: after this one, those of the other links have come.
    make(&client, "canary", &[]).await;
    follow(&node, "canary").await;
    delete(&mut database.connect().await, "canary").await;
    within(HEARD, "the node has heard of everything", async || {
        (status(&client, "canary").await == 404).then_some(())
    })
    .await;
    for number in LINKS {
        follow(&node, &known(number)).await;
    }
    node
}

async fn delete(psql: &mut PgConnection, code: &str) {
    let delete = format!("DELETE FROM urls WHERE short_code = '{code}'");
    assert_eq!(execute(psql, &delete).await, 1);
}

/// The listener is gone and the database can be asked, so the node asks it.
#[tokio::test]
async fn while_changes_go_unheard_nothing_is_believed_that_is_remembered() {
    needs!("postgres");
    let postgres = Postgres::shared_by_tests().await;
    let database = postgres.database().await;
    let node = node_that_remembers(&database).await;
    let client = node.client();
    let mut psql = database.connect().await;
    let mut administrator = postgres.administrator().await;
    let name = database.name();

    let close = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    execute(&mut administrator, &close).await;
    // One hears of links, the other of API keys.
    node.becomes("shunt_keys_watching", 1.0).await;
    // The last statement of a listener is the end of its probe, or a heartbeat.
    let listeners = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND application_name = 'shunt'
         AND (query LIKE 'UNLISTEN %' OR query = 'SELECT 1')"
    );
    assert_eq!(execute(&mut administrator, &listeners).await, 2);
    watches(&node, false).await;
    node.becomes("shunt_keys_watching", 0.0).await;
    let asked_before = asked(&node).await;
    assert_eq!(status(&client, &known(1)).await, 302);
    assert_eq!(asked(&node).await, asked_before + 1.0);
    delete(&mut psql, &known(1)).await;
    assert_eq!(status(&client, &known(1)).await, 404, "at once");
    delete(&mut psql, &known(2)).await;
    // Each attempt to listen makes the node see whether it can ask.
    let pings = async || {
        let labels = ["operation=\"ping\""];
        node.metric("shunt_store_duration_seconds_count", &labels)
            .await
    };
    let before = pings().await;
    eventually("the node tries to listen", async || {
        (pings().await >= before + 3.0).then_some(())
    })
    .await;

    let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    execute(&mut administrator, &open).await;
    watches(&node, true).await;
    node.becomes("shunt_keys_watching", 1.0).await;
    assert_eq!(status(&client, &known(2)).await, 404, "missed meanwhile");
    follow(&node, &known(3)).await;
    delete(&mut psql, &known(3)).await;
    within(HEARD, "changes are heard again", async || {
        (status(&client, &known(3)).await == 404).then_some(())
    })
    .await;
    for line in [
        "changes that others make to links go unheard",
        "changes that others make to links are heard again",
        "changes that others make to API keys go unheard",
        "changes that others make to API keys are heard again",
    ] {
        node.logged(line, 1).await;
    }
    assert!(
        node.log_lines("the database fails").is_empty(),
        "it could be asked all the time"
    );
}

/// Redirects of links that the node remembers, without end.
fn redirects(node: &Node) -> Traffic {
    Traffic::start(&vec![node.client(); 8], |client, number| {
        let number = u32::try_from(number % 20).expect("small") + 1;
        client.request(Method::GET, &format!("/{}", known(number)))
    })
}

/// No request has failed, and none took longer than the bound.
async fn assert_undisturbed(traffic: &Traffic, bound: Duration, when: &str) {
    traffic.answers(100).await;
    let seen = traffic.take();
    assert_eq!(seen.broken, [] as [&str; 0], "{when}");
    assert_eq!(seen.count(302), seen.total(), "{when}: {seen:?}");
    assert!(seen.slowest < bound, "{when}: {seen:?}");
}

async fn shorten_something(client: &Client) -> Answer {
    client.shorten("https://example.com/something").await
}

/// The node knows that its database does not answer, and has waited for longer than a restart takes: from now on no
/// request waits for it.
async fn outage_is_noticed(node: &Node) {
    watches(node, false).await;
    eventually("what needs the database is refused at once", async || {
        let answer = shorten_something(&node.client()).await;
        assert_eq!(answer.status, 503);
        (answer.took < TIMEOUT / 4).then_some(())
    })
    .await;
}

/// A machine that is busy with other tests slows some answers down, but not most of them.
fn assert_most_are_quick(mut took: Vec<Duration>) {
    took.sort_unstable();
    let median = took[took.len() / 2];
    assert!(median < Duration::from_millis(50), "{took:?}");
}

/// Checks how a node behaves once it knows of an outage.
async fn assert_calm(node: &Node) {
    let client = node.client();
    let (asked_before, stale) = (asked(node).await, counted(node, "stale").await);
    let mut took = Vec::new();
    for number in (1..=5).flat_map(|_| LINKS) {
        let answer = client.get(&format!("/{}", known(number))).await;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some(TARGET));
        assert!(answer.took < TIMEOUT, "{answer:?}");
        took.push(answer.took);
    }
    assert_most_are_quick(took);
    assert!(counted(node, "stale").await >= stale + 100.0);
    let mut took = Vec::new();
    for _ in 0..20 {
        for answer in [
            client.get("/never-followed").await,
            client.get("/unheard-of").await,
            shorten_something(&client).await,
        ] {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.took < TIMEOUT, "{answer:?}");
            took.push(answer.took);
        }
    }
    assert_most_are_quick(took);
    let traffic = redirects(node);
    assert_undisturbed(&traffic, TIMEOUT, "once the outage is noticed").await;
    assert_eq!(traffic.stop().await.failed(), 0);
    assert_eq!(
        asked(node).await,
        asked_before,
        "a database that is away is not asked"
    );
}

/// After an outage a node believes nothing that it remembers from before.
async fn assert_everything_is_fresh_again(node: &Node, database: &Database) {
    let client = node.client();
    delete(&mut database.connect().await, &known(1)).await;
    within(HEARD, "what was deleted is gone", async || {
        (status(&client, &known(1)).await == 404).then_some(())
    })
    .await;
    watches(node, true).await;
    assert_eq!(shorten_something(&client).await.status, 200);
    assert_eq!(status(&client, "never-followed").await, 302);
    for number in LINKS.skip(1) {
        follow(node, &known(number)).await;
    }
    for line in [
        "the database fails",
        "the database is back",
        "changes that others make to links go unheard",
        "changes that others make to links are heard again",
    ] {
        node.logged(line, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_known_work_while_the_database_is_dead() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node_that_remembers(&database).await;
    let traffic = redirects(&node);
    assert_undisturbed(&traffic, TIMEOUT, "before").await;
    postgres.kill();
    outage_is_noticed(&node).await;
    assert_undisturbed(&traffic, TIMEOUT + MARGIN, "when the database dies").await;
    assert_eq!(traffic.stop().await.failed(), 0);
    assert_calm(&node).await;
    postgres.restart().await;
    assert_everything_is_fresh_again(&node, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_known_work_while_the_database_is_frozen() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node_that_remembers(&database).await;
    let traffic = redirects(&node);
    assert_undisturbed(&traffic, TIMEOUT, "before").await;
    postgres.freeze();
    let frozen = Instant::now();
    outage_is_noticed(&node).await;
    // Two seconds until the listener is known to be lost; five in which this could be a restart, and the attempt that
    // is under way at their end; and the last request that waited.
    let noticed = frozen.elapsed();
    let bound = Duration::from_secs(2 + 5) + 2 * TIMEOUT + 2 * MARGIN;
    assert!(noticed < bound, "{noticed:?}");
    assert_undisturbed(&traffic, TIMEOUT + MARGIN, "when the database freezes").await;
    assert_eq!(traffic.stop().await.failed(), 0);
    assert_calm(&node).await;
    postgres.thaw();
    assert_everything_is_fresh_again(&node, &database).await;
}
