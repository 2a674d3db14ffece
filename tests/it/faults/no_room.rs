//! The disk is full, or the file may not grow: the node acknowledges exactly what it has stored, and redirects go on.

use std::{path::Path, process::Command};

use reqwest::{Method, RequestBuilder};
use sqlx::{Connection, SqliteConnection};
use testkit::{
    Answer, Client, Node, NodeBuilder, Postgres, SmallDisk, eventually, execute, limit_file_size,
    needs,
};

const TARGET: &str = "https://example.com/";

/// More writes than there is room for in any of these tests.
const MANY: usize = 5_000;

/// What writes to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// `POST /shorten` with nothing but a URL.
    Deduplicated,
    /// The same with an alias.
    Alias,
    /// The same with an expiry: the code is random, and the link is never deduplicated.
    Expiring,
    /// A visit of a link with `max_visits`.
    Visit,
}

const WRITES: [Write; 4] = [
    Write::Deduplicated,
    Write::Alias,
    Write::Expiring,
    Write::Visit,
];

/// Four kilobytes that no database can compress, so that room runs out soon.
fn noise(seed: usize) -> String {
    let mut state = seed as u64 + 1;
    let letter = |_| {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..4_000).map(letter).collect()
}

impl Write {
    fn request(self, client: &Client, number: usize) -> RequestBuilder {
        if self == Self::Visit {
            return client.request(Method::GET, "/limited");
        }
        let url = format!("https://example.com/{number}/{}", noise(number));
        let mut form = vec![("url", url)];
        match self {
            Self::Alias => form.push(("alias", format!("alias-{number}"))),
            Self::Expiring => form.push(("expires_in", "86400".to_owned())),
            Self::Deduplicated | Self::Visit => {}
        }
        client.request(Method::POST, "/shorten").form(&form)
    }

    fn success(self) -> u16 {
        if self == Self::Visit { 302 } else { 200 }
    }
}

fn node_at(directory: &Path) -> NodeBuilder {
    let file = directory.join("links.db");
    node().set("database.url", &format!("sqlite://{}", file.display()))
}

fn node() -> NodeBuilder {
    // Without a cache, each redirect asks the database.
    Node::builder()
        .set("limiter.enabled", "false")
        .set("cache.capacity", "0")
}

/// Makes the first two links.
async fn prepare(node: &Node) {
    for (alias, max_visits) in [("plain", None), ("limited", Some("1000000"))] {
        let mut form = vec![("url", TARGET), ("alias", alias)];
        form.extend(max_visits.map(|visits| ("max_visits", visits)));
        let request = node.client().request(Method::POST, "/shorten").form(&form);
        Answer::to(request).await.expect("an answer").code();
    }
}

/// Writes until there is no more room, and returns how many writes were acknowledged and the codes of the new links.
async fn write_until_full(node: &Node, write: Write) -> (usize, Vec<String>) {
    let client = node.client();
    let mut codes = Vec::new();
    for number in 0..MANY {
        let answer = Answer::to(write.request(&client, number)).await;
        let answer = answer.expect("an answer");
        if answer.status != write.success() {
            assert_unavailable(&answer);
            return (number, codes);
        }
        if write != Write::Visit {
            codes.push(answer.code());
        }
    }
    panic!("{write:?}: there is room without end");
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(answer.number("retry-after") >= 1);
}

/// How often the log says that there is no room.
#[derive(Clone, Copy)]
enum Log {
    /// Once.
    Once,
    /// As often as room runs out and comes back, because Postgres frees a little by itself.
    Truth,
}

impl Log {
    fn is_said(self, node: &Node, back: usize) {
        let fails = node.log_lines("the database fails");
        let is_back = node.log_lines("the database is back");
        match self {
            Self::Once => assert_eq!(fails.len(), 1, "{fails:?}"),
            Self::Truth => assert!((1..10).contains(&fails.len()), "{fails:?}"),
        }
        if let Self::Once = self {
            assert_eq!(is_back.len(), back, "{is_back:?}");
        }
    }
}

async fn assert_all_lead_somewhere(node: &Node, codes: &[String]) {
    let client = node.client();
    for code in codes.iter().map(String::as_str).chain(["plain"]) {
        let status = client.get(&format!("/{code}")).await.status;
        assert_eq!(status, 302, "{code} of {} codes", codes.len());
    }
}

/// Fills the room with writes of one kind. After `make_room` the node must work again, without any other help.
async fn survives(
    builder: &NodeBuilder,
    node: Node,
    write: Write,
    log: Log,
    make_room: impl FnOnce(&Node),
) {
    let (acknowledged, codes) = write_until_full(&node, write).await;
    assert!(acknowledged > 0, "{write:?}: there was room for some");
    // Other writes also fail, or still have room. In both cases the answer is true.
    for number in 0..3 {
        let request = write.request(&node.client(), MANY + acknowledged + number);
        let answer = Answer::to(request).await;
        let answer = answer.expect("an answer");
        assert!([503, write.success()].contains(&answer.status.as_u16()));
    }
    assert_all_lead_somewhere(&node, &codes).await;
    log.is_said(&node, 0);
    let ready = node.probe().get("/readyz").await;
    assert_eq!(ready.status, 200, "redirects work: {ready:?}");
    if let Log::Once = log {
        assert_eq!(ready.json()["status"], "degraded");
    }

    make_room(&node);
    eventually("there is room again, and writes use it", async || {
        let request = write.request(&node.client(), 2 * MANY);
        let answer = Answer::to(request).await.expect("an answer");
        let stored = answer.status == write.success();
        // An alias whose answer was 503 may have been stored.
        (stored || answer.status == 409).then_some(())
    })
    .await;
    eventually("that is said", async || {
        let back = node.log_lines("the database is back").len();
        (back > 0).then_some(())
    })
    .await;
    log.is_said(&node, 1);
    if let Log::Once = log {
        assert_eq!(node.probe().get("/readyz").await.json()["status"], "ready");
    }
    drop(node);

    // A node that has just started has nothing in memory.
    let node = builder.start().await;
    assert_all_lead_somewhere(&node, &codes).await;
}

async fn visits_in(directory: &Path) -> i64 {
    let url = format!("sqlite://{}", directory.join("links.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file");
    let visits: Vec<i64> =
        sqlx::query_scalar("SELECT visits FROM urls WHERE short_code = 'limited'")
            .fetch_all(&mut connection)
            .await
            .expect("the link");
    visits[0]
}

#[tokio::test]
async fn on_a_full_disk_sqlite_acknowledges_what_it_stores_and_nothing_else() {
    for write in WRITES {
        let Some(disk) = SmallDisk::mount("512k") else {
            return;
        };
        let builder = node_at(disk.path());
        let node = builder.start().await;
        prepare(&node).await;
        survives(&builder, node, write, Log::Once, |_| disk.resize("64m")).await;
    }
}

#[tokio::test]
async fn no_visit_is_granted_that_a_full_disk_cannot_count() {
    let Some(disk) = SmallDisk::mount("512k") else {
        return;
    };
    let node = node_at(disk.path()).start().await;
    prepare(&node).await;
    let (granted, _) = write_until_full(&node, Write::Visit).await;
    disk.resize("64m");
    let counted = visits_in(disk.path()).await;
    assert!(counted >= granted as i64, "{counted} of {granted}");
}

/// A process that writes past the limit gets SIGXFSZ. By default the signal would end the node, and redirects with it.
#[tokio::test]
async fn where_its_file_may_not_grow_sqlite_acknowledges_what_it_stores_and_nothing_else() {
    for write in WRITES {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let builder = node_at(directory.path());
        let node = builder.start().await;
        prepare(&node).await;
        limit_file_size(node.pid(), Some(384 << 10));
        survives(&builder, node, write, Log::Once, |node| {
            limit_file_size(node.pid(), None);
        })
        .await;
    }
}

#[test]
fn migrations_that_find_no_room_say_so_and_are_not_said_to_be_done() {
    let Some(disk) = SmallDisk::mount("16k") else {
        return;
    };
    let on_disk = node_at(disk.path()).set("database.timeout", "100ms");
    let output = on_disk.command(&["migrate"]).output().expect("the program");
    let log = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("giving up"), "{log}");
    assert!(!log.contains("up to date"), "{log}");
    disk.resize("64m");
    assert_is_migrated(&on_disk);
}

/// With room, migrations succeed, and say so.
fn assert_is_migrated(builder: &NodeBuilder) {
    let output = builder.command(&["migrate"]).output().expect("the program");
    let log = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("up to date"), "{log}");
}

#[test]
fn migrations_that_may_not_let_the_file_grow_say_so_and_are_not_said_to_be_done() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let builder = node_at(directory.path()).set("database.timeout", "100ms");
    let migrate = builder.command(&["migrate"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 16; exec \"$@\"", "sh"])
        .arg(migrate.get_program())
        .args(migrate.get_args());
    let output = limited.output().expect("the program");
    let log = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("giving up"), "{log}");
    assert!(!log.contains("up to date"), "{log}");
    assert_is_migrated(&builder);
}

/// The tablespace of the table has little room; the rest of Postgres has enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_postgres_acknowledges_what_it_stores_and_nothing_else() {
    needs!("postgres");
    let postgres = Postgres::shared_by_tests().await;
    for write in [Write::Deduplicated, Write::Alias, Write::Expiring] {
        let Some(disk) = SmallDisk::mount("1m") else {
            return;
        };
        let database = postgres.database().await;
        let builder = node().postgres(&database);
        let node = builder.start().await;
        let mut psql = database.connect().await;
        let space = format!("small_{}", database.name());
        let location = disk.path().display();
        let own = Command::new("chown")
            .arg("postgres")
            .arg(disk.path())
            .status();
        assert!(own.expect("chown").success());
        let create = format!("CREATE TABLESPACE {space} LOCATION '{location}'");
        execute(&mut psql, &create).await;
        for statement in [
            "ALTER TABLE urls SET TABLESPACE",
            "ALTER INDEX urls_short_code_key SET TABLESPACE",
            "ALTER INDEX urls_url_sha256_key SET TABLESPACE",
        ] {
            execute(&mut psql, &format!("{statement} {space}")).await;
        }
        prepare(&node).await;
        survives(&builder, node, write, Log::Truth, |_| disk.resize("64m")).await;
        database.remove().await;
        execute(
            &mut postgres.administrator().await,
            &format!("DROP TABLESPACE {space}"),
        )
        .await;
    }
}
