//! Another program removes or replaces SQLite's file under a running node. The node still has the old file open, and
//! what it writes there is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::join_all;
use reqwest::Method;
use tempfile::TempDir;
use testkit::{Answer, Node, NodeBuilder, eventually, within};

/// A node notices within a second. A busy machine may take three more.
const NOTICED: Duration = Duration::from_secs(4);

struct Place {
    directory: TempDir,
    builder: NodeBuilder,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("links.db");
        let builder = Node::builder()
            .set("limiter.enabled", "false")
            .set("cache.capacity", "0")
            // A busy machine makes no look-up time out.
            .set("database.timeout", "15s")
            .set("database.url", &format!("sqlite://{}", file.display()));
        Self { directory, builder }
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("links.db{suffix}"))
    }

    /// Renames the database with its log.
    fn rename(&self, from: &str, to: &str) {
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (format!("{from}{suffix}"), format!("{to}{suffix}"));
            let directory = self.directory.path();
            fs::rename(directory.join(from), directory.join(to)).expect("a file");
        }
    }
}

async fn shorten(node: &Node, number: usize) -> Answer {
    let url = format!("https://example.com/{number}");
    node.client().shorten(&url).await
}

async fn degraded(node: &Node, path: &Path) {
    within(NOTICED, "the node notices", async || {
        let ready = node.probe().get("/readyz").await;
        assert_eq!(ready.status, 200, "redirects work: {ready:?}");
        let ready = ready.json();
        let reason = ready["reasons"][0].as_str()?;
        assert_eq!(ready["status"], "degraded");
        let named = reason.contains(&path.display().to_string());
        assert!(named && reason.contains("removed or replaced"), "{reason}");
        Some(())
    })
    .await;
    // The line may come after the answer of `/readyz` that says the same.
    let lines = within(NOTICED, "the log says so", async || {
        let lines = node.log_lines("removed or replaced");
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("put it back, or restart"), "{lines:?}");
}

/// Looks up many links at once, with more connections than were open before.
async fn assert_all_are_found(node: &Node, codes: &[String]) {
    let clients: Vec<_> = (1..=32).map(|n| node.client_at([127, 0, 3, n])).collect();
    let requests = clients.iter().flat_map(|client| {
        codes.iter().map(move |code| async move {
            let path = format!("/{code}");
            Answer::to(client.request(Method::GET, &path)).await
        })
    });
    for answer in join_all(requests).await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 302, "{answer:?}");
    }
}

/// The node notices without a request.
#[tokio::test]
async fn a_file_that_is_removed_is_noticed_within_a_second_and_written_to_no_more() {
    for suffix in ["", "-wal", "-shm"] {
        let place = Place::new();
        let node = place.builder.start().await;
        let mut codes = Vec::new();
        for number in 0..5 {
            codes.push(shorten(&node, number).await.code());
        }
        let file = place.file(suffix);
        fs::remove_file(&file).expect("the file");
        degraded(&node, &file).await;
        for number in 100..105 {
            let answer = shorten(&node, number).await;
            assert_eq!(answer.status, 503, "{answer:?}");
        }
        assert_all_are_found(&node, &codes).await;
        node.logged("the database fails", 1).await;
        let strict = node.probe().get("/readyz?strict").await;
        assert_eq!(strict.status, 503);
    }
}

/// At no moment does the node acknowledge a link that the file does not have.
#[tokio::test]
async fn a_write_that_comes_before_the_removal_is_noticed_is_not_acknowledged() {
    let place = Place::new();
    let node = place.builder.start().await;
    shorten(&node, 0).await.code();
    fs::remove_file(place.file("")).expect("the file");
    assert_eq!(shorten(&node, 1).await.status, 503);
    assert_eq!(
        shorten(&node, 0).await.status,
        503,
        "not even one that was there"
    );
    let alias = [("url", "https://example.com/"), ("alias", "mine")];
    let request = node.client().request(Method::POST, "/shorten").form(&alias);
    assert_eq!(Answer::to(request).await.expect("an answer").status, 503);
}

/// A connection that is opened later would read the other file.
#[tokio::test]
async fn while_another_file_is_there_links_of_the_first_are_followed_and_none_is_made() {
    let place = Place::new();
    let node = place.builder.start().await;
    let mut codes = Vec::new();
    for number in 0..5 {
        codes.push(shorten(&node, number).await.code());
    }
    place.rename("links.db", "aside.db");
    // The new file is a sound database, but another one.
    let other = place.builder.start().await;
    let stranger = other.client().shorten("https://example.org/").await.code();
    degraded(&node, &place.file("")).await;
    assert_all_are_found(&node, &codes).await;
    let answer = node.client().get(&format!("/{stranger}")).await;
    assert_eq!(answer.status, 404, "it is in the other file");
    assert_eq!(shorten(&node, 100).await.status, 503);
    // The other node still has the file that it opened.
    assert_eq!(shorten(&other, 100).await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_put_back_is_written_to_again_by_itself() {
    let place = Place::new();
    let node = place.builder.start().await;
    let code = shorten(&node, 0).await.code();
    place.rename("links.db", "aside.db");
    degraded(&node, &place.file("")).await;
    assert_eq!(shorten(&node, 1).await.status, 503);
    place.rename("aside.db", "links.db");
    within(NOTICED, "writes are stored again", async || {
        (shorten(&node, 2).await.status == 200).then_some(())
    })
    .await;
    eventually("that is said", async || {
        let back = node.log_lines("the database is back").len();
        (back == 1).then_some(())
    })
    .await;
    node.logged("the database fails", 1).await;
    let made = shorten(&node, 3).await.code();
    drop(node);
    let node = place.builder.start().await;
    assert_all_are_found(&node, &[code, made]).await;
}

/// A restarted node uses the file that it finds.
#[tokio::test]
async fn a_restart_takes_the_file_that_is_there() {
    let place = Place::new();
    let node = place.builder.start().await;
    let code = shorten(&node, 0).await.code();
    place.rename("links.db", "aside.db");
    degraded(&node, &place.file("")).await;
    drop(node);
    let node = place.builder.start().await;
    assert_eq!(node.client().get(&format!("/{code}")).await.status, 404);
    assert_eq!(shorten(&node, 1).await.status, 200);
    assert_eq!(node.probe().get("/readyz").await.json()["status"], "ready");
}
