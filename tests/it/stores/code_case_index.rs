//! What may be in the way of the index that ignores case, and what is left of it then.

use std::{sync::Arc, time::Duration};

use shunt::{
    db::{self, Health, PostgresOptions, Sqlite, SqliteOptions, StartUp},
    links::{
        self, Created, Editor, IgnoreCaseError, LinkOptions, Links, PasswordMetrics, PostgresLinks,
        SqliteLinks, Terms, Wanted, WantedCode,
    },
    telemetry::Metrics,
};
use sqlx::{Connection, PgConnection, SqliteConnection};
use testkit::{Node, Postgres, eventually, needs};
use tokio::time::{sleep, timeout};

use super::{
    managing::{plain, record, store},
    place::{Opened, Place, url},
};

const WITHIN: Duration = Duration::from_secs(20);

const CREATE: &str =
    "CREATE UNIQUE INDEX CONCURRENTLY urls_short_code_nocase_key ON urls (lower(short_code))";

/// How many indexes are never read.
const INVALID: &str = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";

/// How many of them refuse writes.
const INVALID_AND_UNIQUE: &str =
    "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indisready";

async fn run(connection: &mut PgConnection, statements: &[&'static str]) {
    for statement in statements {
        let run = sqlx::raw_sql(*statement).execute(&mut *connection).await;
        run.expect(statement);
    }
}

fn postgres_of(node: &Opened) -> Arc<db::Postgres> {
    match &node.database {
        db::Database::Postgres(postgres) => postgres.clone(),
        db::Database::Sqlite(_) => panic!("another database"),
    }
}

async fn connection(place: &Place) -> PgConnection {
    match place {
        Place::Postgres(database) => database.connect().await,
        Place::Sqlite(_) => panic!("another database"),
    }
}

async fn insert(node: &Opened, text: &str) -> Created {
    node.insert(&plain(text)).await.expect("an answer")
}

/// What a node leaves that went away while it made the index, or that found a new link in its way.
#[tokio::test]
async fn an_index_that_was_not_completed_is_made_again() {
    needs!("postgres");
    let place = Place::postgres().await;
    let before = place.open().await;
    store(&before, plain("twice")).await;
    store(&before, plain("Twice")).await;
    place.try_execute(CREATE).await.expect_err("codes differ");
    assert_eq!(place.number(INVALID).await, 1);
    let refused = place.open_ignoring_case().await.map(drop);
    let conflicts = matches!(refused, Err(IgnoreCaseError::Conflicts(_)));
    assert!(conflicts, "{refused:?}");
    assert_eq!(place.number(INVALID).await, 0, "it would refuse writes");
    place.try_execute(CREATE).await.expect_err("codes differ");
    place
        .execute("DELETE FROM urls WHERE short_code = 'Twice'")
        .await;
    let node = place.open_ignoring_case().await.expect("no conflicts");
    assert_eq!(place.number(INVALID).await, 0);
    assert_eq!(insert(&node, "TWICE").await, Created::CodeTaken);
}

/// A backup, for example. It also keeps the node from removing what it has made of the index. Others go on writing, and
/// the next start removes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_does_not_end_is_waited_for_within_bounds() {
    needs!("postgres");
    let place = Place::postgres().await;
    let heeds = place.open().await;
    store(&heeds, plain("before")).await;
    let mut backup = connection(&place).await;
    let begin = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT count(*) FROM urls",
    ];
    run(&mut backup, &begin).await;
    let bound = Duration::from_secs(3);
    let refused = PostgresLinks::ignoring_case(postgres_of(&heeds), bound);
    let meanwhile = async {
        eventually("only the backup is in the way", async || {
            (place.number(INVALID_AND_UNIQUE).await == 1).then_some(())
        })
        .await;
        store(&heeds, plain("meanwhile")).await;
        assert_eq!(insert(&heeds, "BEFORE").await, Created::CodeTaken);
    };
    let (refused, ()) = tokio::join!(refused, meanwhile);
    let error = refused.map(drop).expect_err("the backup runs");
    assert!(matches!(error, IgnoreCaseError::TooSlow(_)), "{error}");
    assert_eq!(place.number(INVALID_AND_UNIQUE).await, 1, "{error}");
    assert_eq!(insert(&heeds, "Meanwhile").await, Created::CodeTaken);
    run(&mut backup, &["ROLLBACK"]).await;
    let node = place.open_ignoring_case().await.expect("no conflicts");
    assert_eq!(place.number(INVALID).await, 0);
    assert_eq!(record(&node, "MEANWHILE").await.code.as_str(), "meanwhile");
}

/// A start that does not need the index says that it is there, and what to do.
#[tokio::test]
async fn a_start_without_the_setting_warns_of_an_index_that_is_not_complete() {
    needs!("postgres");
    let place = Place::postgres().await;
    let before = place.open().await;
    store(&before, plain("twice")).await;
    store(&before, plain("Twice")).await;
    place.try_execute(CREATE).await.expect_err("codes differ");
    let Place::Postgres(database) = &place else {
        panic!("another database");
    };
    let builder = Node::builder().postgres(database);
    let node = builder.start().await;
    let remove = "DROP INDEX CONCURRENTLY IF EXISTS urls_short_code_nocase_key";
    let lines = node.logged(remove, 1).await;
    assert!(lines[0].contains("is incomplete"), "{lines:?}");
    place.execute(remove).await;
    let node = builder.start().await;
    assert_eq!(node.log_lines("nocase"), Vec::<String>::new());
}

#[tokio::test]
async fn a_node_waits_within_bounds_for_another_one_that_makes_the_index() {
    needs!("postgres");
    let place = Place::postgres().await;
    let postgres = postgres_of(&place.open().await);
    let mut other = connection(&place).await;
    let lock = "SELECT pg_advisory_lock(hashtextextended('urls_short_code_nocase_key', 0))";
    run(&mut other, &[lock]).await;
    let bound = Duration::from_millis(500);
    let refused = PostgresLinks::ignoring_case(postgres.clone(), bound).await;
    let error = refused.map(drop).expect_err("another node has the lock");
    assert!(matches!(error, IgnoreCaseError::TooSlow(_)), "{error}");
    let there = "SELECT count(*) FROM pg_class WHERE relname = 'urls_short_code_nocase_key'";
    assert_eq!(place.number(there).await, 0);
    let mut waits = Box::pin(PostgresLinks::ignoring_case(postgres, WITHIN));
    let early = timeout(bound, &mut waits).await.map(|_| ());
    early.expect_err("it waits");
    run(&mut other, &[CREATE]).await;
    waits.await.map(drop).expect("the other one has made it");
}

/// Its first attempt to connect does not decide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_a_moment_is_waited_for() {
    needs!("postgres");
    let mut server = Postgres::start().await;
    let database = server.database().await;
    let options = PostgresOptions {
        url: database.url().parse().expect("a URL"),
        max_connections: 2,
        timeout: Duration::from_secs(2),
    };
    let start_up = StartUp { within: WITHIN };
    let postgres = db::Postgres::connect(&options, start_up).await;
    let postgres = Arc::new(postgres.expect("a database"));
    server.kill();
    let ignoring = tokio::spawn(PostgresLinks::ignoring_case(postgres.clone(), WITHIN));
    // Longer than it takes to be refused once.
    sleep(Duration::from_millis(300)).await;
    server.restart().await;
    let made = ignoring.await.expect("no panic");
    made.map(drop).expect("the database is back");
    server.kill();
    let bound = Duration::from_millis(700);
    let refused = PostgresLinks::ignoring_case(postgres, bound).await;
    let error = refused.map(drop).expect_err("it stays away");
    assert!(matches!(error, IgnoreCaseError::Database(_)), "{error}");
}

/// Codes of these letters are drawn first; every other one is free.
#[tokio::test]
async fn a_random_code_that_is_taken_in_another_spelling_is_drawn_again() {
    needs!("postgres");
    let place = Place::postgres().await;
    let node = place.open_ignoring_case().await.expect("no conflicts");
    store(&node, plain("taken")).await;
    place
        .execute(
            "CREATE SEQUENCE draws;
             CREATE FUNCTION draw() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('draws') < 3 THEN NEW.short_code := 'TAKEN'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER draw BEFORE INSERT ON urls FOR EACH ROW EXECUTE FUNCTION draw()",
        )
        .await;
    let (metrics, name) = (Metrics::new().expect("metrics"), node.database.name());
    let checks = links::checks(&node.store);
    let health = Health::new(node.database.clone(), checks, metrics.store(name));
    let length = 6.try_into().expect("a length");
    let links = Links::new(
        node.store.clone(),
        Arc::new(health),
        metrics.store(name),
        PasswordMetrics::new(&metrics).expect("metrics"),
        length,
    );
    let made = links
        .shorten(Wanted {
            target: url("https://example.com/"),
            code: WantedCode::OfLength(length),
            owner: None,
            terms: Terms::default(),
            options: LinkOptions::default(),
            in_place_of: None,
        })
        .await
        .expect("a link");
    assert!(made.is_new);
    let found = links.record(&made.code, &Editor::Administrator).await;
    assert_eq!(
        found.expect("an answer").map(|link| link.code),
        Some(made.code)
    );
    assert_eq!(place.number("SELECT last_value FROM draws").await, 3);
}

/// A node that finds the index needs no lock. One that does not asks for the lock again and again.
#[tokio::test]
async fn a_file_that_another_process_writes_to_is_waited_for() {
    let place = Place::sqlite();
    let file = place.file().expect("a file");
    let options = SqliteOptions {
        url: format!("sqlite://{}", file.display())
            .parse()
            .expect("a URL"),
        max_connections: 2,
        timeout: Duration::from_millis(200),
    };
    let sqlite = Sqlite::open(&options, StartUp { within: WITHIN }).await;
    let sqlite = Arc::new(sqlite.expect("a database"));
    let path = format!("sqlite://{}", file.display());
    let other = SqliteConnection::connect(&path).await;
    let mut other = other.expect("the file");
    let mut execute = async |statement: &'static str| {
        let run = sqlx::raw_sql(statement).execute(&mut other).await;
        run.expect(statement);
    };
    execute("BEGIN IMMEDIATE").await;
    let bound = Duration::from_millis(100);
    let refused = SqliteLinks::ignoring_case(sqlite.clone(), bound).await;
    let error = refused.map(drop).expect_err("it is locked");
    assert!(matches!(error, IgnoreCaseError::Database(_)), "{error}");
    let mut waits = Box::pin(SqliteLinks::ignoring_case(sqlite.clone(), WITHIN));
    // Longer than one attempt.
    let early = timeout(Duration::from_secs(1), &mut waits)
        .await
        .map(|_| ());
    early.expect_err("it waits");
    execute("COMMIT").await;
    waits.await.map(drop).expect("nothing is in the way");
    execute("BEGIN IMMEDIATE").await;
    let again = SqliteLinks::ignoring_case(sqlite, WITHIN);
    let again = timeout(Duration::from_millis(500), again).await;
    again.expect("at once").map(drop).expect("it is there");
}
