//! An SQLite file that fails in part.

use std::{fs::File, os::unix::fs::FileExt};

use sqlx::{Connection, SqliteConnection};
use testkit::{Node, NodeBuilder, eventually};

use super::{NOTHING, READ_ONLY, TRIALS, is_said_once, node, quiet, status, trials};

/// A node, and a connection of another program to its file.
async fn sqlite(node: &NodeBuilder) -> (Node, SqliteConnection, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let node = node.clone().set("database.url", &url).start().await;
    let other = SqliteConnection::connect(&url).await.expect("the file");
    (node, other, directory)
}

async fn run(connection: &tokio::sync::Mutex<SqliteConnection>, sql: &'static str) {
    let mut connection = connection.lock().await;
    let done = sqlx::raw_sql(sql).execute(&mut *connection).await;
    done.expect(sql);
}

#[tokio::test]
async fn a_file_that_another_program_locks_is_said_once_and_so_is_the_end_of_it() {
    // Long enough for a read on a busy machine: only writes are to fail.
    let builder = node().set("database.timeout", "1s");
    let (node, other, _directory) = sqlite(&builder).await;
    let other = tokio::sync::Mutex::new(other);
    is_said_once(
        &node,
        &READ_ONLY,
        async || run(&other, "BEGIN IMMEDIATE").await,
        async || run(&other, "ROLLBACK").await,
    )
    .await;
}

#[tokio::test]
async fn a_table_that_is_gone_from_the_file_is_said_once_and_so_is_its_return() {
    let (node, other, _directory) = sqlite(&node()).await;
    let other = tokio::sync::Mutex::new(other);
    is_said_once(
        &node,
        &NOTHING,
        async || run(&other, "ALTER TABLE urls RENAME TO elsewhere").await,
        async || run(&other, "ALTER TABLE elsewhere RENAME TO urls").await,
    )
    .await;
}

/// One page of the table is garbage: look-ups of the links on it fail, and all others work.
#[tokio::test]
async fn links_on_a_page_that_is_damaged_are_said_to_fail_once_while_others_work() {
    const PAGE: usize = 4096;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("links.db");
    let builder = node().set("database.url", &format!("sqlite://{}", file.display()));
    let node = builder.start().await;
    let mut codes = Vec::new();
    for number in 0..200 {
        let url = format!("https://example.com/number-{number}-/{}", "x".repeat(200));
        codes.push(node.client().shorten(&url).await.code());
    }
    drop(node);
    let url = format!("sqlite://{}", file.display());
    let mut other = SqliteConnection::connect(&url).await.expect("the file");
    let fold = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    fold.execute(&mut other).await.expect("a checkpoint");
    other.close().await.expect("the file");

    let content = std::fs::read(&file).expect("the file");
    let needle = b"https://example.com/number-100-/";
    let at = content
        .windows(needle.len())
        .position(|window| window == needle)
        .expect("the link");
    let start = at / PAGE * PAGE;
    let disk = File::options().write(true).open(&file).expect("the file");
    disk.write_all_at(&[0xff; 64], start as u64)
        .expect("a page");

    let node = builder.start().await;
    let (damaged, sound) = (codes[100].as_str(), codes[0].as_str());
    for _ in 0..20 {
        assert_eq!(status(&node, damaged).await, 503);
        assert_eq!(status(&node, sound).await, 302);
    }
    eventually("the node has tried again and again", async || {
        assert_eq!(status(&node, damaged).await, 503);
        assert_eq!(status(&node, sound).await, 302);
        (trials(&node).await >= TRIALS).then_some(())
    })
    .await;
    quiet(&node).await;
    node.logged("the database fails", 1).await;
    assert_eq!(node.log_lines("the database is back").len(), 0);
    let ready = node.probe().get("/readyz").await.json();
    assert_eq!(ready["status"], "degraded", "{ready}");
}
