//! The contract of `LinkStore`.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use shunt::links::{
    Alias, Created, LinkStore, NewLink, PostgresOptions, PostgresStore, Resolved, Schemes,
    ShortCode, SqliteOptions, SqliteStore, StartUp, TargetUrl, Terms, Visit,
};
use tempfile::TempDir;
use testkit::{Database, Postgres, eventually};

const START_UP: StartUp = StartUp {
    within: Duration::from_secs(20),
};
const TIMEOUT: Duration = Duration::from_secs(10);

/// A database that any number of nodes can open.
pub(super) enum Place {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Place {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(super) async fn postgres() -> Self {
        Self::Postgres(Postgres::shared_by_tests().await.database().await)
    }

    pub(super) async fn open(&self) -> Arc<dyn LinkStore> {
        match self {
            Self::Sqlite(directory) => {
                let url = format!("sqlite://{}", directory.path().join("links.db").display());
                let options = SqliteOptions {
                    url: url.parse().expect("a URL"),
                    max_connections: 4,
                    timeout: TIMEOUT,
                };
                Arc::new(
                    SqliteStore::open(&options, START_UP)
                        .await
                        .expect("a store"),
                )
            }
            Self::Postgres(database) => {
                let options = PostgresOptions {
                    url: database.url().parse().expect("a URL"),
                    max_connections: 8,
                    timeout: TIMEOUT,
                };
                Arc::new(
                    PostgresStore::connect(&options, START_UP)
                        .await
                        .expect("a store"),
                )
            }
        }
    }

    /// The path of the file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(directory) => Some(directory.path().join("links.db")),
            Self::Postgres(_) => None,
        }
    }

    /// Runs statements, past the store.
    pub(super) async fn execute(&self, sql: &'static str) {
        let done = match self {
            Self::Sqlite(_) => {
                use sqlx::{Connection, SqliteConnection};
                let url = format!("sqlite://{}", self.file().expect("a file").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file");
                let run = sqlx::raw_sql(sql).execute(&mut connection);
                run.await.map(drop)
            }
            Self::Postgres(database) => {
                let run = sqlx::raw_sql(sql);
                run.execute(&mut database.connect().await).await.map(drop)
            }
        };
        done.expect(sql);
    }

    /// The number that a statement returns, past the store.
    pub(super) async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Self::Sqlite(directory) => {
                use sqlx::{Connection, SqliteConnection};
                let url = format!("sqlite://{}", directory.path().join("links.db").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file");
                let numbers: Vec<i64> = sqlx::query_scalar(sql)
                    .fetch_all(&mut connection)
                    .await
                    .expect(sql);
                numbers[0]
            }
            Self::Postgres(database) => database.number(sql).await,
        }
    }
}

/// Every scenario on every store.
macro_rules! contract {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $scenario() {
                super::$scenario($crate::stores::links::Place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $scenario() {
                testkit::needs!("postgres");
                super::$scenario($crate::stores::links::Place::postgres().await).await;
            })+
        }
    };
}

pub(super) use contract;

contract!(
    what_was_stored_is_found,
    one_target_has_one_shared_link,
    a_code_belongs_to_one_link,
    links_of_ones_own_are_not_shared,
    codes_differ_by_case,
    long_targets_are_told_apart,
    two_hundred_at_once_make_one_link,
    a_link_expires,
    visits_are_used_up_exactly,
    what_was_stored_survives_the_store,
    several_nodes_start_at_once_on_an_empty_database,
    a_database_that_a_later_release_migrated_still_opens,
);

pub(super) fn url(text: &str) -> TargetUrl {
    TargetUrl::parse(text, &Schemes::default()).expect("a URL")
}

pub(super) fn code(text: &str) -> ShortCode {
    Alias::parse(text).expect("a code").into_code()
}

/// Inserts a shared link, as `POST /shorten` without anything special does.
async fn share(store: &dyn LinkStore, text: &str, target: &TargetUrl) -> Created {
    let link = NewLink {
        code: &code(text),
        target,
        shared: true,
        terms: Terms::default(),
    };
    store.insert(&link).await.expect("an answer")
}

async fn own(store: &dyn LinkStore, text: &str, target: &TargetUrl, terms: Terms) -> Created {
    let link = NewLink {
        code: &code(text),
        target,
        shared: false,
        terms,
    };
    store.insert(&link).await.expect("an answer")
}

async fn follow(store: &dyn LinkStore, text: &str) -> Resolved {
    let found = store.resolve(&code(text), Visit::Counted).await;
    found.expect("an answer")
}

fn stored(text: &str) -> Created {
    Created::Stored(code(text))
}

async fn what_was_stored_is_found(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/?q=ü");
    assert_eq!(share(&*store, "first1", &target).await, stored("first1"));
    assert_eq!(
        follow(&*store, "first1").await,
        Resolved::Found(target.to_string())
    );
    assert_eq!(follow(&*store, "first2").await, Resolved::Unknown);
    store.ping().await.expect("alive");
}

async fn one_target_has_one_shared_link(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let target = url("https://example.com/shared");
    assert_eq!(share(&*one, "shared1", &target).await, stored("shared1"));
    assert_eq!(share(&*other, "shared2", &target).await, stored("shared1"));
    assert_eq!(
        share(&*one, "shared3", &url("https://example.com/")).await,
        stored("shared3")
    );
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 2);
}

async fn a_code_belongs_to_one_link(place: Place) {
    let store = place.open().await;
    share(&*store, "taken1", &url("https://example.com/1")).await;
    let other = url("https://example.com/2");
    assert_eq!(share(&*store, "taken1", &other).await, Created::CodeTaken);
    let own = own(&*store, "taken1", &other, Terms::default()).await;
    assert_eq!(own, Created::CodeTaken);
    assert_eq!(
        follow(&*store, "taken1").await,
        Resolved::Found("https://example.com/1".into())
    );
}

async fn links_of_ones_own_are_not_shared(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/");
    assert_eq!(
        own(&*store, "mine1", &target, Terms::default()).await,
        stored("mine1")
    );
    assert_eq!(
        own(&*store, "mine2", &target, Terms::default()).await,
        stored("mine2")
    );
    assert_eq!(
        share(&*store, "everyones", &target).await,
        stored("everyones")
    );
    assert_eq!(share(&*store, "unused", &target).await, stored("everyones"));
}

async fn codes_differ_by_case(place: Place) {
    let store = place.open().await;
    share(&*store, "CaseCode", &url("https://example.com/upper")).await;
    assert_eq!(follow(&*store, "casecode").await, Resolved::Unknown);
    share(&*store, "casecode", &url("https://example.com/lower")).await;
    assert_eq!(
        follow(&*store, "CaseCode").await,
        Resolved::Found("https://example.com/upper".into())
    );
}

/// An index on the URL itself fails above 2704 bytes, one on a prefix mixes these up.
async fn long_targets_are_told_apart(place: Place) {
    let store = place.open().await;
    // Nothing that compresses.
    let noise: String = (0..8_100_u32)
        .map(|i| {
            char::from(
                b'a' + u8::try_from(i.wrapping_mul(2_654_435_761) >> 27).expect("5 bits") % 26,
            )
        })
        .collect();
    let (one, other) = (
        url(&format!("https://example.com/{noise}1")),
        url(&format!("https://example.com/{noise}2")),
    );
    assert_eq!(share(&*store, "long1", &one).await, stored("long1"));
    assert_eq!(share(&*store, "long2", &other).await, stored("long2"));
    assert_eq!(share(&*store, "long3", &one).await, stored("long1"));
    assert_eq!(
        follow(&*store, "long2").await,
        Resolved::Found(other.to_string())
    );
}

async fn two_hundred_at_once_make_one_link(place: Place) {
    let nodes = [place.open().await, place.open().await];
    let target = url("https://example.com/at-once");
    let requests = (0..200).map(|number| {
        let (node, target) = (nodes[number % 2].clone(), target.clone());
        tokio::spawn(async move { share(&*node, &format!("at-once-{number}"), &target).await })
    });
    let results: HashSet<String> = join_all(requests)
        .await
        .into_iter()
        .map(|created| format!("{:?}", created.expect("no panic")))
        .collect();
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 1);
}

async fn a_link_expires(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/");
    let lives = |seconds| Terms {
        expires_in: Some(Duration::from_secs(seconds)),
        max_visits: None,
    };
    own(&*store, "short-lived", &target, lives(1)).await;
    own(&*store, "long-lived", &target, lives(1_000)).await;
    assert_eq!(
        follow(&*store, "long-lived").await,
        Resolved::Found(target.to_string())
    );
    eventually("the link expires", async || {
        (follow(&*store, "short-lived").await == Resolved::Gone).then_some(())
    })
    .await;
    assert_eq!(
        follow(&*store, "long-lived").await,
        Resolved::Found(target.to_string())
    );
}

async fn visits_are_used_up_exactly(place: Place) {
    let nodes = [place.open().await, place.open().await];
    let target = url("https://example.com/");
    let terms = Terms {
        expires_in: None,
        max_visits: Some(7),
    };
    own(&*nodes[0], "limited", &target, terms).await;
    for _ in 0..20 {
        let looked = nodes[0].resolve(&code("limited"), Visit::Uncounted).await;
        assert_eq!(looked.expect("an answer"), Resolved::Withheld);
    }
    let visits = (0..50).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move { follow(&*node, "limited").await })
    });
    let visits = join_all(visits).await;
    let found = visits
        .into_iter()
        .filter(|visit| matches!(visit, Ok(Resolved::Visited(_))));
    assert_eq!(found.count(), 7);
    let looked = nodes[1].resolve(&code("limited"), Visit::Uncounted).await;
    assert_eq!(looked.expect("an answer"), Resolved::Gone);
}

async fn what_was_stored_survives_the_store(place: Place) {
    let target = url("https://example.com/");
    let store = place.open().await;
    share(&*store, "lasting", &target).await;
    store.close().await;
    let reopened = place.open().await;
    assert_eq!(
        follow(&*reopened, "lasting").await,
        Resolved::Found(target.to_string())
    );
}

async fn several_nodes_start_at_once_on_an_empty_database(place: Place) {
    let nodes = join_all((0..5).map(|_| place.open())).await;
    let target = url("https://example.com/");
    share(&*nodes[0], "started", &target).await;
    for node in &nodes {
        assert_eq!(
            follow(&**node, "started").await,
            Resolved::Found(target.to_string())
        );
    }
}

/// During an upgrade the previous release may have to start once more.
async fn a_database_that_a_later_release_migrated_still_opens(place: Place) {
    place.open().await.close().await;
    let later =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0) RETURNING version";
    assert_eq!(place.number(later).await, 9999);
    let store = place.open().await;
    share(&*store, "older", &url("https://example.com/")).await;
}
