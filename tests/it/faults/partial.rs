//! A database that answers, but not everything: that is said once when it begins and once when it ends, however often it is
//! tried, and what does not need the part that fails goes on.

use std::time::Duration;

use reqwest::Method;
use sqlx::PgConnection;
use testkit::{Answer, Node, NodeBuilder, Postgres, Traffic, eventually, execute, needs};

const TARGET: &str = "https://example.com/";

/// How often a node has to have tried again what failed, or whether anything works, before a test believes that it knows.
pub(super) const TRIALS: f64 = 5.0;

pub(super) fn node() -> NodeBuilder {
    // Without a cache, so that each redirect asks the database.
    Node::builder()
        .set("limiter.enabled", "false")
        .set("cache.capacity", "0")
}

async fn make(node: &Node, alias: &str, terms: &[(&str, &str)]) -> u16 {
    let form = [&[("url", TARGET), ("alias", alias)], terms].concat();
    let request = node.client().request(Method::POST, "/shorten").form(&form);
    let answer = Answer::to(request).await.expect("an answer");
    answer.status.as_u16()
}

pub(super) async fn status(node: &Node, code: &str) -> u16 {
    let answer = node.client().get(&format!("/{code}")).await;
    answer.status.as_u16()
}

pub(super) async fn trials(node: &Node) -> f64 {
    let count = async |operation: &str| {
        let label = format!("operation=\"{operation}\"");
        node.metric("shunt_store_duration_seconds_count", &[&label])
            .await
    };
    let failed = node.metric("shunt_store_errors_total", &["operation=\"ping\""]);
    count("trial").await + failed.await
}

/// Waits until the node has tried again a few times more, while nobody asks it for anything.
pub(super) async fn quiet(node: &Node) {
    let before = trials(node).await;
    eventually("the node tries again by itself", async || {
        (trials(node).await >= before + 3.0).then_some(())
    })
    .await;
}

/// What a test needs to know of a fault.
pub(super) struct Fault {
    /// What a request that meets it is answered.
    reads: u16,
    inserts: u16,
    visits: u16,
    /// What `/readyz` says of the database.
    state: &'static str,
}

pub(super) const READ_ONLY: Fault = Fault {
    reads: 302,
    inserts: 503,
    visits: 503,
    state: "degraded",
};

const NO_INSERTS: Fault = Fault {
    visits: 302,
    ..READ_ONLY
};

const NO_VISITS: Fault = Fault {
    inserts: 200,
    ..READ_ONLY
};

pub(super) const NOTHING: Fault = Fault {
    reads: 503,
    inserts: 503,
    visits: 503,
    state: "down",
};

/// Requests of every kind, answered as the fault has it. `number` makes aliases differ.
async fn assert_meets(node: &Node, fault: &Fault, number: u32) {
    assert_eq!(status(node, "plain").await, fault.reads);
    assert_eq!(
        make(node, &format!("alias-{number}"), &[]).await,
        fault.inserts
    );
    let url = format!("https://example.com/{number}");
    let shortened = node.client().shorten(&url).await;
    assert_eq!(shortened.status, fault.inserts, "{shortened:?}");
    assert_eq!(status(node, "limited").await, fault.visits);
}

/// Harms the database of a node that works, and heals it.
pub(super) async fn is_said_once(
    node: &Node,
    fault: &Fault,
    harm: impl AsyncFnOnce(),
    heal: impl AsyncFnOnce(),
) {
    assert_eq!(make(node, "plain", &[]).await, 200);
    let limited = [("max_visits", "100000")];
    assert_eq!(make(node, "limited", &limited).await, 200);
    assert_eq!(status(node, "limited").await, 302);

    harm().await;
    let mut number = 0;
    eventually("the node has tried again and again", async || {
        number += 1;
        assert_meets(node, fault, number).await;
        (trials(node).await >= TRIALS).then_some(())
    })
    .await;
    quiet(node).await;
    let fails = node.log_lines("the link store fails");
    // One for what fails first, and one for each other thing that turns out to fail while the database answers.
    let all = [fault.reads, fault.inserts, fault.visits];
    let most = all.iter().filter(|&&status| status == 503).count();
    assert!((1..=most).contains(&fails.len()), "{fails:?}");
    assert_eq!(node.log_lines("the link store is back"), [] as [&str; 0]);
    let ready = node.probe().get("/readyz").await;
    let expected = if fault.state == "down" && !is_postgres(&ready) {
        503
    } else {
        200
    };
    assert_eq!(ready.status, expected, "{ready:?}");
    let ready = ready.json();
    let store = ready["dependencies"].as_object().expect("an object");
    let (name, store) = store.iter().next().expect("the database");
    assert_eq!(store["status"], fault.state, "{ready}");
    let reason = ready["reasons"][0].as_str().expect("a reason");
    assert!(reason.starts_with(name.as_str()), "{reason}");
    for (what, fails) in [
        ("reads", fault.reads == 503),
        ("writes", fault.inserts == 503 || fault.visits == 503),
    ] {
        let label = format!("what=\"{what}\"");
        let failing = node.metric("shunt_store_failing", &[&label]).await;
        assert_eq!(failing, f64::from(u8::from(fails)), "{what}");
    }

    heal().await;
    eventually("that is noticed without a request", async || {
        let back = node.log_lines("the link store is back").len();
        (back == 1).then_some(())
    })
    .await;
    let well = Fault {
        reads: 302,
        inserts: 200,
        visits: 302,
        state: "up",
    };
    assert_meets(node, &well, 0).await;
    assert_eq!(node.log_lines("the link store fails"), fails);
    assert_eq!(node.log_lines("the link store is back").len(), 1);
    assert_eq!(node.probe().get("/readyz").await.json()["status"], "ready");
}

fn is_postgres(ready: &Answer) -> bool {
    ready.body.contains("postgres")
}

/// A node on a database of its own, in which SQL does harm.
async fn postgres(fault: &Fault, harm: &[&str], heal: &[&str]) {
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
    postgres(
        &NOTHING,
        &["ALTER TABLE urls RENAME TO elsewhere"],
        &["ALTER TABLE elsewhere RENAME TO urls"],
    )
    .await;
}

#[tokio::test]
async fn writes_that_only_a_commit_refuses_are_said_once_and_so_is_their_return() {
    needs!("postgres");
    postgres(
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

/// Inserts succeed all the time, and say nothing about visits.
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
        // Its own session is affected, too.
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

/// Every commit waits for a standby that is not there, and a transaction that is rolled back would not.
#[tokio::test]
async fn a_standby_that_confirms_no_commit_is_said_once_and_so_is_its_return() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let builder = node().postgres(&database).set("database.timeout", "300ms");
    let node = builder.start().await;
    let set = async |standby: &str| {
        let mut administrator = postgres.administrator().await;
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        execute(&mut administrator, &set).await;
        execute(&mut administrator, "SELECT pg_reload_conf()").await;
    };
    assert_eq!(make(&node, "plain", &[]).await, 200);
    set("nobody").await;
    eventually("writes wait", async || {
        let answer = node.client().shorten(TARGET).await;
        (answer.status == 503).then_some(())
    })
    .await;
    eventually("the node has tried again", async || {
        assert_eq!(status(&node, "plain").await, 302);
        (trials(&node).await >= 3.0).then_some(())
    })
    .await;
    assert_eq!(node.log_lines("the link store fails").len(), 1);
    assert_eq!(node.log_lines("the link store is back").len(), 0);
    set("").await;
    eventually("the end of it is said", async || {
        let back = node.log_lines("the link store is back").len();
        (back == 1).then_some(())
    })
    .await;
    assert_eq!(node.log_lines("the link store fails").len(), 1);
}

/// Writes that wait for a lock would otherwise have every connection, and whoever only reads would wait for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_do_not_wait_behind_writes_that_hang() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node()
        .postgres(&database)
        .set("database.timeout", "3s")
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
        slow += u32::from(answer.took > Duration::from_secs(1));
    }
    // A machine that is busy with other tests may slow one down; behind the writes all would be.
    assert!(slow < 5, "{slow} of {}", codes.len());
    execute(&mut holder, "ROLLBACK").await;
    writes.stop().await;
}

/// An outage of the whole database in the middle of a smaller fault is said, and so is what is left of it afterwards.
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
            let lines = node.log_lines("the link store fails").len();
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
    assert_eq!(node.log_lines("the link store is back").len(), 0);
    let mut psql = database.connect().await;
    execute(&mut psql, "ALTER TABLE urls DROP CONSTRAINT nothing").await;
    eventually("all is well", async || {
        let back = node.log_lines("the link store is back").len();
        (back == 1).then_some(())
    })
    .await;
    assert_eq!(make(&node, "other", &[]).await, 200);
}
