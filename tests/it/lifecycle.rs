use crate::harness::{Node, Postgres, Redis};
use crate::needs;
use rustix::process::Signal;

#[tokio::test]
async fn sigterm() {
    needs!("redis-server", "postgres");
    let redis = Redis::start().await;
    let database = Postgres::shared().await.database().await;
    let mut node = Node::builder()
        .redis(&redis)
        .postgres(&database)
        .clock("+3600")
        .start()
        .await;
    node.client().shorten("https://example.com/").await.code();
    println!(
        "{}",
        node.probe()
            .get("/metrics")
            .await
            .body
            .lines()
            .filter(|l| l.contains("ahead") || l.contains("decis"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    println!("{:?}", redis.command::<Vec<String>>("KEYS *").await);
    println!("{:?}", node.probe().get("/readyz").await.body);
    node.signal(Signal::TERM);
    assert_eq!(node.exit_code().await, 0);
}
