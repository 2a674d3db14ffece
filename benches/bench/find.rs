//! Links made, listed and searched by API, in a table of a million.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::{Client, Node, NodeBuilder};
use tokio::time::sleep;

use crate::{
    fill,
    row::{Better, Row, Wanted},
    runner::Runner,
    servers::{Servers, embedded},
};

/// How many links there are, unless `BENCH_FIND_LINKS` says otherwise.
const LINKS: u64 = 1_000_000;

/// Requests of each kind, one after the other.
const RUNS: u32 = 101;

/// How long the nodes may take to index a million links.
const BOUND: Duration = Duration::from_secs(600);

/// What is asked for: the row, its title, the query and what the first page must have. `@` stands for a number that is
/// no part of another link's.
const LISTS: [(&str, &str, &str, Page); 4] = [
    ("list", "newest 50 of a million", "", Page::Full),
    (
        "search-common",
        "search in a million: all links have it",
        "search=example.com",
        Page::Full,
    ),
    (
        "search-rare",
        "search in a million: one link has it",
        "search=filled/@",
        Page::Some,
    ),
    (
        "search-none",
        "search in a million: no link has it",
        "search=no-such-text",
        Page::Empty,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Full,
    Some,
    Empty,
}

/// The rows: on both databases.
///
/// # Errors
/// If a node does not answer as it must.
pub(crate) async fn measure(
    runner: &mut Runner<'_>,
    servers: &Servers,
) -> anyhow::Result<Vec<Row>> {
    let workers = runner.settings.workers;
    let links = match std::env::var("BENCH_FIND_LINKS") {
        Ok(number) => number.parse().context("BENCH_FIND_LINKS")?,
        Err(_) => LINKS,
    };
    let directory = tempfile::tempdir()?;
    let file = format!("sqlite://{}", directory.path().join("links.db").display());
    let sqlite = embedded(workers).set("database.url", &file);
    let database = servers.postgres.database().await;
    let postgres = embedded(workers).postgres(&database);
    let mut rows = Vec::new();
    for (name, builder) in [("sqlite", sqlite), ("postgres", postgres)] {
        eprintln!("find: {links} links in {name}");
        let key = key(&builder)?;
        match name {
            "sqlite" => fill::sqlite(&file, 1, links).await?,
            _ => fill::postgres(&database.url(), 1, links).await?,
        }
        let node = builder.start().await;
        let api = Api {
            client: node.client(),
            key,
        };
        let indexed = wait_for_index(&node).await?;
        for mut row in ask(&api, name, links).await? {
            row.notes
                .push(format!("indexed in {} s", indexed.as_secs()));
            runner.keep(&row.name, &format!("{:?}\n", row.values()));
            rows.push(row);
        }
    }
    Ok(rows)
}

struct Api {
    client: Client,
    key: String,
}

impl Api {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, path).bearer_auth(&self.key)
    }
}

/// A key that may do everything, and as often as it wants.
fn key(builder: &NodeBuilder) -> anyhow::Result<String> {
    let arguments = [
        "keys",
        "create",
        "--name",
        "bench",
        "--scope",
        "admin",
        "--quota",
        "1000000/minute",
    ];
    let output = builder.command(&arguments).output()?;
    ensure!(output.status.success(), "no key: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Waits until the node has indexed all full blocks: it says so once, in its log.
async fn wait_for_index(node: &Node) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while node.log_lines("links are indexed").is_empty() {
        ensure!(started.elapsed() < BOUND, "the links are not indexed");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(started.elapsed())
}

async fn ask(api: &Api, database: &str, links: u64) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, title, query, page) in LISTS {
        let mut row = row(name, title, database);
        row.wanted = Some(Wanted::AtMost(50.0));
        // Two thirds: with one more digit, there is no such link.
        let query = query.replace('@', &(links * 2 / 3).to_string());
        let path = format!("/api/v1/links?{query}");
        time(&mut row, async |_| {
            let answer = api.request(Method::GET, &path).send().await?;
            let answer: Value = answer.error_for_status()?.json().await?;
            let links = answer["links"].as_array().context("no list")?.len();
            let is_expected = match page {
                Page::Full => links == 50 && answer["next"].is_string(),
                Page::Some => (1..50).contains(&links) && answer["next"].is_null(),
                Page::Empty => links == 0 && answer["next"].is_null(),
            };
            ensure!(
                is_expected,
                "{path}: {links} links, next {}",
                answer["next"]
            );
            Ok(())
        })
        .await?;
        rows.push(row);
    }
    let mut row = row("create-with-key", "create by API with a key", database);
    time(&mut row, async |number| {
        let body = json!({ "url": format!("https://example.com/bench/{number}") });
        let request = api.request(Method::POST, "/api/v1/links").json(&body);
        let status = request.send().await?.status();
        ensure!(status == 201, "a new link is answered with {status}");
        Ok(())
    })
    .await?;
    rows.push(row);
    Ok(rows)
}

fn row(name: &str, title: &str, database: &str) -> Row {
    let title = format!("{title}, {database}");
    Row::new(&format!("{name}-{database}"), &title, "ms", Better::Lower)
}

/// Sends requests one after the other, and notes the slowest. The first ones are for warming up.
async fn time(
    row: &mut Row,
    request: impl AsyncFn(u32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for number in 0..10 {
        request(number).await?;
    }
    let mut times = Vec::new();
    for number in 10..10 + RUNS {
        let started = Instant::now();
        request(number).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    row.add(times[times.len() / 2], None);
    let (p99, slowest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    row.notes
        .push(format!("p99 {p99:.2} ms, slowest {slowest:.2} ms"));
    Ok(())
}
