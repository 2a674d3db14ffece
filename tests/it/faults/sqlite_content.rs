//! Another program changes SQLite's files in place under a running node, or removes its log. The node keeps what it has
//! acknowledged, and does not acknowledge what would be lost.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use reqwest::Method;
use tempfile::TempDir;
use testkit::{Answer, Node, NodeBuilder, eventually, needs, within};

const NOTICED: Duration = Duration::from_secs(8);

fn place() -> (TempDir, PathBuf, NodeBuilder) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("links.db");
    let builder = Node::builder()
        .set("limiter.enabled", "false")
        .set("cache.capacity", "0")
        .set("database.url", &format!("sqlite://{}", file.display()));
    (directory, file, builder)
}

fn log_of(database: &Path) -> PathBuf {
    database.with_extension("db-wal")
}

async fn shorten(node: &Node, number: usize) -> Answer {
    let url = format!("https://example.com/{number}/{}", "x".repeat(1_000));
    node.client().shorten(&url).await
}

async fn make(node: &Node, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut codes = Vec::new();
    for number in numbers {
        codes.push(shorten(node, number).await.code());
    }
    codes
}

async fn is_followed(node: &Node, code: &str) -> bool {
    node.client().get(&format!("/{code}")).await.status == 302
}

fn sqlite3(file: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3")
        .args(["-cmd", ".timeout 10000"])
        .arg(file)
        .arg(sql)
        .output();
    let output = output.expect("sqlite3");
    assert!(output.status.success(), "{sql}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn degraded(node: &Node, reason: &str) {
    within(NOTICED, reason, async || {
        let ready = node.probe().get("/readyz").await.json();
        let is_ready = ready["status"] == "ready";
        // If look-ups also fail, /readyz gives that reason, and this one is in the log.
        let is_said = ready.to_string().contains(reason) || !node.log_lines(reason).is_empty();
        (!is_ready && is_said).then_some(())
    })
    .await;
}

async fn no_link_is_made(node: &Node) {
    for number in 1_000..1_020 {
        let answer = shorten(node, number).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(node.log_lines("the database is back").len(), 0);
}

#[tokio::test]
async fn an_older_file_that_is_copied_over_the_database_is_noticed_and_no_link_is_made() {
    needs!("sqlite3");
    let (directory, file, builder) = place();
    let node = builder.start().await;
    make(&node, 0..5).await;
    let old = directory.path().join("old.db");
    sqlite3(&file, &format!("VACUUM INTO '{}'", old.display()));
    make(&node, 5..60).await;
    sqlite3(&file, "PRAGMA wal_checkpoint");
    assert_eq!(shorten(&node, 60).await.status, 200);
    // Into the same file, so that the node still has it open.
    fs::copy(&old, &file).expect("a copy");
    assert_eq!(shorten(&node, 100).await.status, 503);
    degraded(&node, "links.db was changed in place").await;
    no_link_is_made(&node).await;
}

/// SQLite treats a log that it has recovered like one whose checkpoint was interrupted.
#[tokio::test]
async fn that_is_noticed_after_a_crash_as_well_and_without_a_request() {
    let (directory, file, builder) = place();
    let mut node = builder.start().await;
    make(&node, 0..5).await;
    let old = directory.path().join("old.db");
    fs::copy(&file, &old).expect("a copy");
    node.kill();
    let node = builder.start().await;
    fs::copy(&old, &file).expect("a copy");
    degraded(&node, "links.db was changed in place").await;
    no_link_is_made(&node).await;
}

#[tokio::test]
async fn a_log_that_is_truncated_in_place_is_noticed_and_no_link_is_made() {
    let (_directory, file, builder) = place();
    let node = builder.start().await;
    make(&node, 0..20).await;
    File::create(log_of(&file)).expect("an empty file");
    assert_eq!(shorten(&node, 100).await.status, 503);
    degraded(&node, "links.db-wal was changed in place").await;
    no_link_is_made(&node).await;
}

/// All writes at once, for a while, and at every moment of a checkpoint.
#[tokio::test]
async fn what_other_programs_do_with_sqlite_is_no_alarm() {
    needs!("sqlite3");
    let (directory, file, builder) = place();
    let node = builder.start().await;
    let others = {
        let (file, backup) = (file.clone(), directory.path().join("backup.db"));
        tokio::task::spawn_blocking(move || {
            for round in 0..12 {
                for sql in [
                    "PRAGMA wal_checkpoint(TRUNCATE)",
                    "INSERT INTO urls (short_code, original_url, created_at) SELECT hex(randomblob(8)), hex(randomblob(900)), 1 FROM json_each(json_array(1,2,3,4))",
                    "PRAGMA wal_checkpoint(PASSIVE)",
                    "PRAGMA wal_checkpoint(RESTART)",
                    "VACUUM",
                ] {
                    sqlite3(&file, sql);
                }
                let into = backup.with_extension(round.to_string());
                sqlite3(&file, &format!("VACUUM INTO '{}'", into.display()));
                sqlite3(&file, &format!(".backup '{}'", backup.display()));
            }
        })
    };
    let mut codes = Vec::new();
    while !others.is_finished() {
        let number = codes.len();
        codes.extend(make(&node, number..number + 1).await);
    }
    others.await.expect("the other programs");
    sqlite3(&file, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(fs::metadata(log_of(&file)).expect("the log").len(), 0);
    let number = codes.len();
    codes.extend(make(&node, number..number + 5).await);
    assert_eq!(node.probe().get("/readyz").await.json()["status"], "ready");
    assert_eq!(node.log_lines("the database fails").len(), 0);
    drop(node);
    let node = builder.start().await;
    for code in codes {
        assert!(is_followed(&node, &code).await);
    }
}

#[tokio::test]
async fn what_was_in_a_log_that_is_removed_survives_a_crash() {
    let (_directory, file, builder) = place();
    let mut node = builder.start().await;
    let codes = make(&node, 0..20).await;
    fs::remove_file(log_of(&file)).expect("the log");
    degraded(&node, "removed or replaced").await;
    eventually("the log is saved", async || {
        let said = node.log_lines("what it had is folded").len();
        (said == 1).then_some(())
    })
    .await;
    node.kill();
    let node = builder.start().await;
    for code in codes {
        assert!(is_followed(&node, &code).await);
    }
    assert_eq!(shorten(&node, 100).await.status, 200);
}

/// One write that meets no damage does not prove that there is none.
#[tokio::test]
async fn after_a_write_has_met_damage_no_link_is_made_until_the_database_is_in_order() {
    const PAGE: usize = 4096;
    needs!("sqlite3");
    let (_directory, file, builder) = place();
    let node = builder.start().await;
    make(&node, 0..50).await;
    drop(node);
    sqlite3(&file, "PRAGMA wal_checkpoint(TRUNCATE)");
    let content = fs::read(&file).expect("the file");
    let needle = b"https://example.com/25/";
    let at = content.windows(needle.len()).position(|at| at == needle);
    let start = at.expect("the link") / PAGE * PAGE;
    let disk = File::options().write(true).open(&file).expect("the file");
    disk.write_all_at(&[0xff; 64], start as u64)
        .expect("a page");
    let node = builder.start().await;
    assert_eq!(shorten(&node, 100).await.status, 200);
    assert_eq!(shorten(&node, 25).await.status, 503, "it is there already");
    degraded(&node, "damaged").await;
    no_link_is_made(&node).await;
    let probe = node.client().request(Method::GET, "/");
    assert_eq!(Answer::to(probe).await.expect("an answer").status, 200);
}
