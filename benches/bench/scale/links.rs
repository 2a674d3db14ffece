//! Look-ups and new links, while the table grows.

use std::{fs, sync::Arc};

use anyhow::ensure;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use testkit::{Node, NodeBuilder, execute};

use super::{
    series::{Series, speed},
    sizes::decades,
};
use crate::{
    counters::Counters,
    fill,
    load::Load,
    program,
    runner::Runner,
    servers::{self, Servers},
};

const COLUMNS: [&str; 8] = [
    "links",
    "look_ups_per_s",
    "look_up_p50_ms",
    "look_up_p99_ms",
    "new_links_per_s",
    "new_link_p50_ms",
    "new_link_p99_ms",
    "database_mb",
];

/// The share of requests that must reach the database. Not all do: a node remembers one link, and coalesces look-ups of
/// the same code.
const LOOKED_UP: f64 = 0.9;

/// Measures from a thousand links to `most`.
///
/// # Errors
/// If a node did anything but what is to be measured.
pub(super) async fn measure(runner: &mut Runner<'_>, most: u32) -> anyhow::Result<Vec<Series>> {
    let servers = Servers::start().await;
    let database = servers.postgres.database().await;
    let node = servers
        .node(runner.settings.workers)
        .postgres(&database)
        .set("redis.url", "");
    let postgres = grow("postgres", runner, node, Links::Postgres(database), most).await?;

    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}/links.db", directory.path().display());
    let node = servers::embedded(runner.settings.workers).set("database.url", &url);
    let sqlite = grow("sqlite", runner, node, Links::Sqlite(directory, url), most).await?;
    Ok(vec![postgres, sqlite])
}

async fn grow(
    store: &str,
    runner: &mut Runner<'_>,
    node: NodeBuilder,
    links: Links,
    most: u32,
) -> anyhow::Result<Series> {
    let title = format!("Links in {store}: redirects that are looked up, and new links");
    let mut series = Series::new(&format!("links-{store}"), &title, &COLUMNS);
    let node = node
        .set("limiter.enabled", "false")
        // The smallest cache. Without a cache, look-ups take another path.
        .set("cache.capacity", "1");
    program::output(&node.command(&["migrate"])).await?;
    let mut filled = 0;
    for size in decades(1_000, most) {
        eprintln!("links: {size} in {store}");
        links.fill(filled + 1, u64::from(size)).await?;
        filled = u64::from(size);
        let megabytes = links.megabytes().await?;
        let node = Arc::new(node.start().await);
        let name = |what: &str| format!("{what}-{store}-{size}");
        let [rate, p50, p99] = look_up(runner, &name("look-up"), &node, size).await?;

        let last = links.last_id().await?;
        let mut load = Load::new(&name("new-link"), &node, "unique-urls.lua", "/shorten");
        load.status = 200;
        load.deciders = &[];
        let [new_rate, new_p50, new_p99] = speed(&load.measure(runner).await?);
        drop((load, node));
        links.remove_after(last).await?;
        series.add(vec![
            f64::from(size),
            rate,
            p50,
            p99,
            new_rate,
            new_p50,
            new_p99,
            megabytes,
        ]);
    }
    Ok(series)
}

/// Redirects of all links, in random order.
async fn look_up(
    runner: &mut Runner<'_>,
    name: &str,
    node: &Arc<Node>,
    size: u32,
) -> anyhow::Result<[f64; 3]> {
    let mut load = Load::new(name, node, "existing-codes.lua", "/");
    load.target.arguments = vec![size.to_string()];
    load.deciders = &[];
    let before = Counters::settled([&**node]).await;
    let measured = load.measure(runner).await?;
    let done = Counters::settled([&**node]).await.since(&before);
    let (look_ups, requests) = (done.look_ups(), done.requests());
    ensure!(
        look_ups as f64 >= LOOKED_UP * requests as f64,
        "{name}: {requests} requests caused only {look_ups} look-ups"
    );
    Ok(speed(&measured))
}

/// Where the links are.
enum Links {
    Postgres(testkit::Database),
    /// A folder and the URL of the file in it.
    Sqlite(TempDir, String),
}

impl Links {
    async fn fill(&self, first: u64, last: u64) -> sqlx::Result<()> {
        match self {
            Self::Postgres(database) => fill::postgres(&database.url(), first, last).await,
            Self::Sqlite(_, url) => fill::sqlite(url, first, last).await,
        }
    }

    async fn last_id(&self) -> sqlx::Result<i64> {
        let last = "SELECT max(id) FROM urls";
        match self {
            Self::Postgres(database) => Ok(database.number(last).await),
            Self::Sqlite(_, url) => {
                let mut connection = SqliteConnection::connect(url).await?;
                let ids: Vec<i64> = sqlx::query_scalar(last).fetch_all(&mut connection).await?;
                ids.first().copied().ok_or(sqlx::Error::RowNotFound)
            }
        }
    }

    /// Removes the links after `id`, so that the next size is exact.
    async fn remove_after(&self, id: i64) -> sqlx::Result<()> {
        match self {
            Self::Postgres(database) => {
                let delete = format!("DELETE FROM urls WHERE id > {id}");
                execute(&mut database.connect().await, &delete).await;
            }
            Self::Sqlite(_, url) => {
                let mut connection = SqliteConnection::connect(url).await?;
                let delete = sqlx::query("DELETE FROM urls WHERE id > ?1").bind(id);
                delete.execute(&mut connection).await?;
            }
        }
        Ok(())
    }

    /// With indexes, in 10^6 bytes.
    async fn megabytes(&self) -> anyhow::Result<f64> {
        let bytes = match self {
            Self::Postgres(database) => {
                let size = "SELECT pg_total_relation_size('urls')";
                database.number(size).await as f64
            }
            Self::Sqlite(directory, _) => {
                fs::metadata(directory.path().join("links.db"))?.len() as f64
            }
        };
        Ok(bytes / 1e6)
    }
}
