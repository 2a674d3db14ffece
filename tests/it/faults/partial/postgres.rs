//! A Postgres that fails in part.

use std::time::Duration;

use reqwest::Method;
use sqlx::PgConnection;
use testkit::{Postgres, Traffic, eventually, execute, needs};

use super::{
    Fault, NO_INSERTS, NO_VISITS, NOTHING, READ_ONLY, TARGET, TRIALS, is_said_once, make, node,
    status, trials,
};

/// SQL harms the database of a node, and heals it.
async fn statements(fault: &Fault, harm: &[&str], heal: &[&str]) {
    let postgres = Postgres::shared_by_tests().await;
    let database = postgres.database().await;
    let node = node().postgres(&database).start().await;
    let psql = tokio::sync::Mutex::new(database.connect().await);
    let run = async |statements: &[&str]| {
        for statement in statements {
            execute(&mut *psql.lock().await, statement).await;
        }
    };
    is_said_once(
        &node,
        fault,
        async || run(harm).await,
        async || {
            run(heal).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_table_that_is_gone_is_said_once_and_so_is_its_return() {
    needs!("postgres");
    statements(
        &NOTHING,
        &["ALTER TABLE urls RENAME TO elsewhere"],
        &["ALTER TABLE elsewhere RENAME TO urls"],
    )
    .await;
}

#[tokio::test]
async fn writes_that_only_a_commit_refuses_are_said_once_and_so_is_their_return() {
    needs!("postgres");
    statements(
        &READ_ONLY,
        &[
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not today'; END $$",
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON urls
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
        ],
        &["DROP FUNCTION refuse CASCADE"],
    )
    .await;
}

/// A role that owns a table may still lack a right to it.
async fn without(fault: &Fault, right: &str) {
    let postgres = Postgres::shared_by_tests().await;
    let database = postgres.database().await;
    let role = format!("app_{}", database.name());
    let mut psql = database.connect().await;
    for statement in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT ALL ON SCHEMA public TO {role}"),
    ] {
        execute(&mut psql, &statement).await;
    }
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let node = node().set("database.url", &url).start().await;
    let psql = tokio::sync::Mutex::new(psql);
    let run = async |statement: String| {
        execute(&mut *psql.lock().await, &statement).await;
    };
    is_said_once(
        &node,
        fault,
        async || run(format!("REVOKE {right} ON urls FROM {role}")).await,
        async || run(format!("GRANT {right} ON urls TO {role}")).await,
    )
    .await;
}

#[tokio::test]
async fn a_right_to_insert_that_is_lost_is_said_once_and_so_is_its_return() {
    needs!("postgres");
    without(&NO_INSERTS, "INSERT").await;
}

/// Inserts go on succeeding, which says nothing about visits.
#[tokio::test]
async fn a_right_to_count_visits_that_is_lost_is_said_once_and_so_is_its_return() {
    needs!("postgres");
    without(&NO_VISITS, "UPDATE").await;
}

/// As after a failover that made a standby of it.
#[tokio::test]
async fn a_postgres_that_becomes_read_only_is_said_once_and_so_is_the_end_of_it() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node().postgres(&database).start().await;
    let set = async |value: &str| {
        let mut administrator = postgres.administrator().await;
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        // The setting also applies to this session, where the next statement would fail.
        execute(
            &mut administrator,
            "SET default_transaction_read_only = off",
        )
        .await;
        execute(&mut administrator, &set).await;
        execute(&mut administrator, "SELECT pg_reload_conf()").await;
        eventually("it is so in other sessions", async || {
            let mut other = database.connect().await;
            (setting(&mut other).await == value).then_some(())
        })
        .await;
    };
    is_said_once(
        &node,
        &READ_ONLY,
        async || set("on").await,
        async || {
            set("off").await;
        },
    )
    .await;
}

async fn setting(connection: &mut PgConnection) -> String {
    let show = sqlx::query_scalar("SHOW default_transaction_read_only");
    let settings: Vec<String> = show.fetch_all(connection).await.expect("a setting");
    settings.concat()
}

/// Every commit waits for a standby that does not exist. A node that tries with a transaction that it rolls back would
/// not notice.
#[tokio::test]
async fn a_standby_that_confirms_no_commit_is_said_once_and_so_is_its_return() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    // Long enough for a read on a busy machine: only writes are to fail.
    let builder = node().postgres(&database).set("database.timeout", "2s");
    let node = builder.start().await;
    let set = async |standby: &str| {
        let mut administrator = postgres.administrator().await;
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        execute(&mut administrator, &set).await;
        execute(&mut administrator, "SELECT pg_reload_conf()").await;
    };
    assert_eq!(make(&node, "plain", &[]).await, 200);
    set("nobody").await;
    let mut number = 0;
    eventually("writes wait", async || {
        number += 1;
        // A link that is there already would need no write.
        let answer = node.client().shorten(&format!("{TARGET}{number}")).await;
        (answer.status == 503).then_some(())
    })
    .await;
    eventually("the node has tried again", async || {
        assert_eq!(status(&node, "plain").await, 302);
        (trials(&node).await >= 3.0).then_some(())
    })
    .await;
    node.logged("the database fails", 1).await;
    assert_eq!(node.log_lines("the database is back").len(), 0);
    set("").await;
    eventually("the end of it is said", async || {
        let back = node.log_lines("the database is back").len();
        (back == 1).then_some(())
    })
    .await;
    node.logged("the database fails", 1).await;
}

/// Writes that wait for a lock never take every connection of the pool, so reads need not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_do_not_wait_behind_writes_that_hang() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node()
        .postgres(&database)
        .set("database.timeout", "10s")
        .start()
        .await;
    let codes: Vec<String> = {
        let client = node.client();
        let mut codes = Vec::new();
        for number in 0..50 {
            let url = format!("https://example.com/{number}");
            codes.push(client.shorten(&url).await.code());
        }
        codes
    };
    let mut holder = database.connect().await;
    execute(&mut holder, "BEGIN").await;
    execute(&mut holder, "LOCK TABLE urls IN SHARE MODE").await;
    let writes = Traffic::start(&vec![node.client(); 64], |client, number| {
        let url = format!("https://example.org/{number}");
        client
            .request(Method::POST, "/shorten")
            .form(&[("url", url)])
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("writes hang", async || {
        (database.number(waiting).await >= 8).then_some(())
    })
    .await;
    let mut slow = 0;
    for code in &codes {
        let answer = node.client().get(&format!("/{code}")).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        slow += u32::from(answer.took > Duration::from_secs(3));
    }
    // A busy machine may slow one down. Behind the writes, all would take 10 s and fail.
    assert!(slow < 5, "{slow} of {}", codes.len());
    execute(&mut holder, "ROLLBACK").await;
    writes.stop().await;
}

/// The whole database goes away during a smaller fault: the node says so, and afterwards says what still fails.
#[tokio::test]
async fn an_outage_during_a_smaller_fault_is_said_too() {
    needs!("postgres");
    let mut postgres = Postgres::start().await;
    let database = postgres.database().await;
    let node = node().postgres(&database).start().await;
    assert_eq!(make(&node, "plain", &[]).await, 200);
    let mut psql = database.connect().await;
    let rule = "ALTER TABLE urls ADD CONSTRAINT nothing CHECK (id < 2)";
    execute(&mut psql, rule).await;
    assert_eq!(make(&node, "other", &[]).await, 503);
    let fails = async |count: usize, what: &str| {
        eventually(what, async || {
            let lines = node.log_lines("the database fails").len();
            assert!(lines <= count, "{what}: {lines}");
            (lines == count).then_some(())
        })
        .await;
    };
    eventually("the node has tried again", async || {
        (trials(&node).await >= TRIALS).then_some(())
    })
    .await;
    fails(1, "links cannot be made").await;
    postgres.kill();
    eventually("nothing works", async || {
        (status(&node, "plain").await == 503).then_some(())
    })
    .await;
    fails(2, "the outage is said").await;
    postgres.restart().await;
    fails(3, "links still cannot be made").await;
    assert_eq!(status(&node, "plain").await, 302);
    assert_eq!(node.log_lines("the database is back").len(), 0);
    let mut psql = database.connect().await;
    execute(&mut psql, "ALTER TABLE urls DROP CONSTRAINT nothing").await;
    eventually("all is well", async || {
        let back = node.log_lines("the database is back").len();
        (back == 1).then_some(())
    })
    .await;
    assert_eq!(make(&node, "other", &[]).await, 200);
}
