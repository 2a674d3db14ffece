//! Redirects from memory: what they save, and that they never use what is no longer true.

mod changes;
mod memory;
mod outages;
mod single_flight;
mod sqlite;
mod visits;

use std::time::Duration;

use reqwest::Method;
use testkit::{Answer, Client, Database, Node, NodeBuilder, Postgres, eventually};

const TARGET: &str = "https://example.com/";

/// Within this time a change counts everywhere.
const HEARD: Duration = Duration::from_secs(2);

/// A node that looks a link up again only for a reason, not because time has passed.
fn node() -> NodeBuilder {
    Node::builder()
        .set("limiter.enabled", "false")
        .set("cache.ttl", "1day")
}

/// Starts a node and waits until it hears of changes: before that it believes nothing that it remembers.
async fn start(builder: &NodeBuilder) -> Node {
    let node = builder.start().await;
    watches(&node, true).await;
    node
}

async fn watches(node: &Node, expected: bool) {
    let expected = f64::from(u8::from(expected));
    eventually("the node begins or ceases to hear of changes", async || {
        let watching = node.metric("shunt_cache_watching", &[]).await;
        (watching == expected).then_some(())
    })
    .await;
}

/// Two nodes on one database.
struct Pair {
    a: Node,
    b: Node,
    database: Database,
}

impl Pair {
    async fn start(configure: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let database = Postgres::shared_by_tests().await.database().await;
        let builder = || configure(node().postgres(&database));
        Self {
            a: start(&builder()).await,
            b: start(&builder()).await,
            database,
        }
    }
}

/// How often a node has asked its database where a code leads.
async fn asked(node: &Node) -> f64 {
    let labels = ["operation=\"resolve\""];
    node.metric("shunt_store_duration_seconds_count", &labels)
        .await
}

/// How many look-ups had this result: `hit`, `negative_hit`, `miss` or `stale`.
async fn counted(node: &Node, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    node.metric("shunt_cache_lookups_total", &[&label]).await
}

async fn status(client: &Client, code: &str) -> u16 {
    client.get(&format!("/{code}")).await.status.as_u16()
}

/// Makes a link under a code of the test's choice.
async fn make(client: &Client, code: &str, terms: &[(&str, &str)]) {
    let form = [&[("url", TARGET), ("alias", code)], terms].concat();
    let request = client.request(Method::POST, "/shorten").form(&form);
    let answer = Answer::to(request).await.expect("an answer");
    assert_eq!(answer.code(), code);
}

/// Follows a link until the node is sure to remember it: the announcement that it was made may come after it was
/// followed first.
async fn follow(node: &Node, code: &str) {
    let client = node.client();
    eventually("the link is remembered", async || {
        let hits = counted(node, "hit").await;
        assert_eq!(status(&client, code).await, 302, "{code}");
        (counted(node, "hit").await == hits + 1.0).then_some(())
    })
    .await;
}
