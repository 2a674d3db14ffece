//! `/readyz`: whether a node can serve anything useful, and whether everything works.

use serde_json::{Value, json};
use testkit::{Database, Node, NodeBuilder, Postgres, Redis, eventually, execute, needs};

/// What `/readyz`, `/readyz?strict`, `shunt healthcheck` and `shunt healthcheck --strict` say.
async fn assert_ready(node: &Node, lenient: u16, strict: u16) -> Value {
    for (path, expected) in [
        ("/readyz?strict", strict),
        ("/readyz?strict=true", strict),
        ("/readyz?strict=false", lenient),
        ("/readyz", lenient),
    ] {
        let answer = node.probe().get(path).await;
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
    }
    let asking = Node::builder().set("management.bind", &node.management().to_string());
    for (arguments, expected) in [
        (&["healthcheck"][..], lenient),
        (&["healthcheck", "--strict"], strict),
    ] {
        let output = asking.command(arguments).output().expect("the program");
        assert_eq!(output.status.success(), expected == 200, "{output:?}");
    }
    node.probe().get("/readyz").await.json()
}

async fn becomes(node: &Node, status: &str) {
    eventually(status, async || {
        let ready = node.probe().get("/readyz").await;
        (ready.json()["status"] == status).then_some(())
    })
    .await;
}

fn on(database: &Database) -> NodeBuilder {
    Node::builder()
        .postgres(database)
        .set("limiter.enabled", "false")
        .set("database.timeout", "1s")
}

/// Postgres is away for all nodes, so even a node that remembers nothing is no worse than the others.
#[tokio::test]
async fn while_postgres_is_away_a_node_is_degraded_and_stays_in_the_load_balancer() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = on(&database).start().await;
    let ready = assert_ready(&node, 200, 200).await;
    let up = json!({ "status": "ready", "dependencies": { "postgres": { "status": "up" } } });
    assert_eq!(ready, up);

    postgres.kill();
    becomes(&node, "degraded").await;
    let ready = assert_ready(&node, 200, 503).await;
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["dependencies"]["postgres"]["status"], "down");
    let reasons = ready["reasons"].as_array().expect("reasons");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let reason = reasons[0].as_str().expect("a sentence");
    assert!(reason.starts_with("postgres: "), "{reason}");

    postgres.restart().await;
    becomes(&node, "ready").await;
    assert_eq!(assert_ready(&node, 200, 200).await, up);
}

#[tokio::test]
async fn while_redis_is_away_a_node_is_degraded_whatever_it_does_without() {
    needs!("redis-server");
    for on_failure in ["local", "allow", "deny"] {
        let mut redis = Redis::start().await;
        let builder = Node::builder()
            .redis(&redis)
            .set("limiter.on_redis_failure", on_failure);
        let node = builder.start().await;
        becomes(&node, "ready").await;
        redis.kill();
        becomes(&node, "degraded").await;
        let ready = assert_ready(&node, 200, 503).await;
        assert_eq!(ready["dependencies"]["redis"]["status"], "down");
        let reason = ready["reasons"][0].as_str().expect("a reason");
        assert!(reason.starts_with("redis: "), "{reason}");
        assert_eq!(reason.contains("refused"), on_failure == "deny", "{reason}");
        redis.restart().await;
        becomes(&node, "ready").await;
    }
}

/// A roll-out must notice before the first client does.
#[tokio::test]
async fn strict_finds_out_whether_links_can_be_made_and_leaves_none() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = on(&database).start().await;
    assert_ready(&node, 200, 200).await;
    assert_eq!(database.number("SELECT count(*) FROM urls").await, 0);
    let mut psql = database.connect().await;
    let rule = "ALTER TABLE urls ADD CONSTRAINT nothing CHECK (id < 0)";
    execute(&mut psql, rule).await;
    let ready = node.probe().get("/readyz").await.json();
    assert_eq!(ready["status"], "ready", "nobody has tried to write");
    assert_eq!(node.probe().get("/readyz?strict").await.status, 503);
    let ready = assert_ready(&node, 200, 503).await;
    assert_eq!(ready["dependencies"]["postgres"]["status"], "degraded");
    let reason = ready["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("links cannot be made"), "{reason}");
    execute(&mut psql, "ALTER TABLE urls DROP CONSTRAINT nothing").await;
    becomes(&node, "ready").await;
    assert_ready(&node, 200, 200).await;
    assert_eq!(database.number("SELECT count(*) FROM urls").await, 0);
}

#[tokio::test]
async fn strict_leaves_nothing_in_the_file_either() {
    use sqlx::{Connection, SqliteConnection};

    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let node = Node::builder().set("database.url", &url).start().await;
    let code = node.client().shorten("https://example.com/").await.code();
    for _ in 0..3 {
        assert_ready(&node, 200, 200).await;
    }
    let mut other = SqliteConnection::connect(&url).await.expect("the file");
    let codes: Vec<String> = sqlx::query_scalar("SELECT short_code FROM urls")
        .fetch_all(&mut other)
        .await
        .expect("links");
    assert_eq!(codes, [code.as_str()]);
    assert_eq!(node.client().get(&format!("/{code}")).await.status, 302);
}

/// SQLite belongs to the node, so another node may do better.
#[tokio::test]
async fn without_its_file_a_node_is_ready_only_while_it_remembers_links() {
    use sqlx::{Connection, SqliteConnection};

    for remembers in [true, false] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", directory.path().join("links.db").display());
        let node = Node::builder().set("database.url", &url).start().await;
        let client = node.client();
        let code = client.shorten("https://example.com/").await.code();
        if remembers {
            assert_eq!(client.get(&format!("/{code}")).await.status, 302);
        }
        let mut other = SqliteConnection::connect(&url).await.expect("the file");
        sqlx::raw_sql("ALTER TABLE urls RENAME TO elsewhere")
            .execute(&mut other)
            .await
            .expect("another name");
        let status = if remembers { "degraded" } else { "unavailable" };
        becomes(&node, status).await;
        assert_ready(&node, if remembers { 200 } else { 503 }, 503).await;
        let said = node.log_lines("\"not ready\"");
        assert_eq!(said.len(), usize::from(!remembers), "{said:?}");
    }
}
