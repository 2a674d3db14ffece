//! In the embedded mode other programs may change the file.

use std::time::{Duration, Instant};

use sqlx::{Connection, SqliteConnection};
use testkit::within;

use super::{asked, counted, follow, make, node, start, status};

/// SQLite is asked every second whether something was changed.
const HEARD: Duration = Duration::from_secs(3);

#[tokio::test]
async fn what_another_program_does_to_the_file_is_noticed_and_what_the_node_does_is_no_news() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let node = node().set("database.url", &url);
    let node = start(&node.set("cache.miss_ttl", "1m")).await;
    let client = node.client();
    // The node knows what it does itself.
    for _ in 0..2 {
        assert_eq!(status(&client, "kept").await, 404);
    }
    assert_eq!(counted(&node, "negative_hit").await, 1.0);
    for code in ["deleted", "kept"] {
        make(&client, code, &[]).await;
        follow(&node, code).await;
    }
    let (asked_before, mut hits) = (asked(&node).await, counted(&node, "hit").await);
    // Long enough for the node to have looked twice.
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        number += 1;
        make(&client, &format!("new-{number}"), &[]).await;
        client
            .shorten(&format!("https://example.com/{number}"))
            .await
            .code();
        assert_eq!(status(&client, "kept").await, 302);
        hits += 1.0;
    }
    assert_eq!(counted(&node, "hit").await, hits, "{number} links made");
    assert_eq!(asked(&node).await, asked_before);

    let mut other = SqliteConnection::connect(&url).await.expect("the file");
    sqlx::query("DELETE FROM urls WHERE short_code = 'deleted'")
        .execute(&mut other)
        .await
        .expect("DELETE");
    within(HEARD, "the link is gone", async || {
        (status(&client, "deleted").await == 404).then_some(())
    })
    .await;
    follow(&node, "kept").await;
}
