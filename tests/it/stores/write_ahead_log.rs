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
use shunt::links::{
    LinkStore, NewLink, ShortCode, SqliteOptions, SqliteStore, StartUp, TargetUrl, Terms,
};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::links::{code, url};

/// Without being folded in, they make a log of 70 MB.
const LINKS: usize = 5_000;

/// 16 MiB, at which a node begins it anew by itself, and what may be written until that has happened.
const BOUND: u64 = 32 << 20;

struct Place {
    directory: TempDir,
}

impl Place {
    /// In memory, where that can be: a commit waits for the disk, and there are thousands.
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

    async fn open(&self) -> Arc<SqliteStore> {
        let options = SqliteOptions {
            url: self.url().parse().expect("a URL"),
            max_connections: 4,
            timeout: Duration::from_secs(20),
        };
        let start_up = StartUp {
            within: Duration::from_secs(20),
        };
        let store = SqliteStore::open(&options, start_up).await;
        Arc::new(store.expect("a store"))
    }
}

/// Makes links while the store does what it does beside. How large the log was at the most.
async fn make_links(place: &Place, store: &Arc<SqliteStore>) -> u64 {
    let largest = AtomicU64::new(0);
    let writes = async {
        for number in 0..LINKS {
            let (code, target) = link(number);
            let link = NewLink {
                code: &code,
                target: &target,
                shared: true,
                terms: Terms::default(),
            };
            store.insert(&link).await.expect("an answer");
            if number % 10 == 0 {
                largest.fetch_max(place.size("-wal"), Ordering::Relaxed);
            }
        }
    };
    let ignore = |_| {};
    let maintained = store.maintain(&ignore);
    select(Box::pin(writes), maintained).await;
    largest.into_inner()
}

fn link(number: usize) -> (ShortCode, TargetUrl) {
    let target = url(&format!("https://example.com/{number}/{}", "x".repeat(500)));
    (code(&format!("link-{number}")), target)
}

/// Look-ups without end, as clients that follow links cause them.
fn look_ups(store: &Arc<SqliteStore>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
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
    let store = place.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3).map(|_| look_ups(&store, &stop)).collect();
    let largest = make_links(&place, &store).await;
    stop.store(true, Ordering::Relaxed);
    join_all(readers).await;
    assert!(largest < BOUND, "{largest} bytes");
    let folded_in = place.size("");
    assert!(folded_in > 1 << 20, "{folded_in} bytes in the file itself");
}

/// One reads at every moment: what SQLite waits for, before it begins the log anew by itself, never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_overlap_for_ever_do_not_let_it_grow() {
    let place = Place::new();
    let store = place.open().await;
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
    let largest = make_links(&place, &store).await;
    stop.store(true, Ordering::Relaxed);
    overlapping.await.expect("no panic");
    assert!(largest < BOUND, "{largest} bytes");
}

/// As a release left it that never folded it in, and was killed.
#[tokio::test]
async fn a_large_one_that_is_found_at_the_start_is_folded_in() {
    let place = Place::new();
    let store = place.open().await;
    // Whoever reads what was at the beginning keeps all of it.
    let mut reader = SqliteConnection::connect(&place.url())
        .await
        .expect("the file");
    let begin = sqlx::raw_sql("BEGIN; SELECT count(*) FROM urls");
    begin.execute(&mut reader).await.expect("a snapshot");
    make_links(&place, &store).await;
    let grown = place.size("-wal");
    assert!(grown > BOUND, "{grown} bytes");
    drop(reader);

    let ignore = |_| {};
    let maintained = store.maintain(&ignore);
    let folded_in = testkit::eventually("it is folded in", async || {
        (place.size("-wal") < 16 << 20).then_some(())
    });
    select(Box::pin(folded_in), maintained).await;
    let found = store.look_up(&[link(LINKS - 1).0]).await;
    assert!(
        format!("{found:?}").contains("https://example.com/"),
        "{found:?}"
    );
}
