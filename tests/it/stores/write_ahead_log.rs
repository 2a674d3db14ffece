//! SQLite's write-ahead log is folded into the file while links are being made, and does not grow without bound.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{join_all, select};
use shunt::{
    db::{Database, Sqlite, SqliteOptions, StartUp},
    links::{LinkStore, NewLink, ShortCode, SqliteLinks, TargetUrl},
};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::place::{code, url};

/// So many that they make a log of 70 MB if it is not folded in.
const LINKS: usize = 5_000;

/// 16 MiB, at which a node begins the log anew, and as much again for what may be written until it has.
const BOUND: u64 = 32 << 20;

struct Place {
    directory: TempDir,
}

impl Place {
    /// In memory, where there is such a folder: each of thousands of commits waits for the disk.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        Self {
            directory: directory.expect("a temporary directory"),
        }
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.file("").display())
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("links.db{suffix}"))
    }

    fn size(&self, suffix: &str) -> u64 {
        std::fs::metadata(self.file(suffix)).map_or(0, |file| file.len())
    }

    async fn open(&self) -> (Arc<SqliteLinks>, Database) {
        let options = SqliteOptions {
            url: self.url().parse().expect("a URL"),
            max_connections: 4,
            timeout: Duration::from_secs(20),
        };
        let start_up = StartUp {
            within: Duration::from_secs(20),
        };
        let sqlite = Sqlite::open(&options, start_up).await;
        let sqlite = Arc::new(sqlite.expect("a database"));
        let store = SqliteLinks::new(sqlite.clone());
        (Arc::new(store), Database::Sqlite(sqlite))
    }
}

/// Makes links while the database does its background work. Returns how large the log was at most.
async fn make_links(place: &Place, store: &SqliteLinks, database: &Database) -> u64 {
    let largest = AtomicU64::new(0);
    let writes = async {
        for number in 0..LINKS {
            let (code, target) = link(number);
            let link = NewLink {
                deduplicated: true,
                ..NewLink::new(code, target)
            };
            store.insert(&link).await.expect("an answer");
            if number % 10 == 0 {
                largest.fetch_max(place.size("-wal"), Ordering::Relaxed);
            }
        }
    };
    let ignore = |_| {};
    let maintained = database.maintain(&ignore);
    select(Box::pin(writes), Box::pin(maintained)).await;
    largest.into_inner()
}

fn link(number: usize) -> (ShortCode, TargetUrl) {
    let target = url(&format!("https://example.com/{number}/{}", "x".repeat(500)));
    (code(&format!("link-{number}")), target)
}

/// Look-ups without end, as clients cause them that follow links.
fn look_ups(store: &Arc<SqliteLinks>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let (store, stop) = (store.clone(), stop.clone());
    tokio::spawn(async move {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let codes = [link(number % LINKS).0];
            store.look_up(&codes).await.expect("an answer");
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_small_while_links_are_made_and_followed() {
    let place = Place::new();
    let (store, database) = place.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3).map(|_| look_ups(&store, &stop)).collect();
    let largest = make_links(&place, &store, &database).await;
    stop.store(true, Ordering::Relaxed);
    join_all(readers).await;
    assert!(largest < BOUND, "{largest} bytes");
    let folded_in = place.size("");
    assert!(folded_in > 1 << 20, "{folded_in} bytes in the file itself");
}

/// At every moment some connection reads. SQLite alone would wait for a moment without readers, which never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_overlap_for_ever_do_not_let_it_grow() {
    let place = Place::new();
    let (store, database) = place.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut connections = Vec::new();
    for _ in 0..3 {
        let connection = SqliteConnection::connect(&place.url()).await;
        connections.push(connection.expect("the file"));
    }
    let overlapping = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let read = async |reader: &mut SqliteConnection, begin: bool| {
                if begin {
                    let begin = sqlx::raw_sql("BEGIN; SELECT count(*) FROM urls WHERE id = 1");
                    begin.execute(&mut *reader).await.expect("a snapshot");
                } else {
                    let end = sqlx::raw_sql("COMMIT");
                    end.execute(&mut *reader).await.expect("its end");
                }
            };
            read(&mut connections[0], true).await;
            for turn in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                read(&mut connections[(turn + 1) % 3], true).await;
                read(&mut connections[turn % 3], false).await;
            }
        })
    };
    let largest = make_links(&place, &store, &database).await;
    stop.store(true, Ordering::Relaxed);
    overlapping.await.expect("no panic");
    assert!(largest < BOUND, "{largest} bytes");
}

/// The state that a killed node leaves whose log was never folded in.
#[tokio::test]
async fn a_large_one_that_is_found_at_the_start_is_folded_in() {
    let place = Place::new();
    let (store, database) = place.open().await;
    // A reader of the beginning's state keeps all of the log from being folded in.
    let mut reader = SqliteConnection::connect(&place.url())
        .await
        .expect("the file");
    let begin = sqlx::raw_sql("BEGIN; SELECT count(*) FROM urls");
    begin.execute(&mut reader).await.expect("a snapshot");
    make_links(&place, &store, &database).await;
    let grown = place.size("-wal");
    assert!(grown > BOUND, "{grown} bytes");
    drop(reader);

    let ignore = |_| {};
    let maintained = database.maintain(&ignore);
    let folded_in = testkit::eventually("it is folded in", async || {
        (place.size("-wal") < 16 << 20).then_some(())
    });
    select(Box::pin(folded_in), Box::pin(maintained)).await;
    let found = store.look_up(&[link(LINKS - 1).0]).await;
    assert!(
        format!("{found:?}").contains("https://example.com/"),
        "{found:?}"
    );
}
