//! What takes a look inside: room that runs out by the file's own limit.

use std::time::Duration;

use super::*;
use crate::links::{Alias, Schemes, TargetUrl};

const TIMEOUT: Duration = Duration::from_secs(10);

fn code(text: &str) -> ShortCode {
    Alias::parse(text).expect("a code").into_code()
}

async fn limit_pages(store: &SqliteStore, pages: u32) {
    let mut writer = store.connections.writer().await.expect("the writer");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    let limit = sqlx::query(limit).execute(&mut *writer);
    limit.await.expect("a limit");
}

#[tokio::test]
async fn of_a_file_that_has_all_its_pages_only_what_fits_is_acknowledged() {
    for deduplicated in [true, false] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", directory.path().join("links.db").display());
        let options = SqliteOptions {
            url: url.parse().expect("a URL"),
            max_connections: 2,
            timeout: TIMEOUT,
        };
        let store = SqliteStore::open(&options, StartUp { within: TIMEOUT }).await;
        let store = store.expect("a store");
        limit_pages(&store, 30).await;
        let mut acknowledged = Vec::new();
        let refused = loop {
            let number = acknowledged.len();
            let code = code(&format!("link-{number}"));
            let target = format!("https://example.com/{number}/{}", "x".repeat(4_000));
            let target = TargetUrl::parse(&target, &Schemes::default()).expect("a URL");
            let link = NewLink {
                code,
                target,
                deduplicated,
                terms: Terms::default(),
            };
            match store.insert(&link).await {
                Ok(Created::Stored(stored)) => acknowledged.push(stored),
                Ok(Created::CodeTaken) => unreachable!("no two are the same"),
                Err(error) => {
                    assert!(format!("{error:?}").contains("full"), "{error:?}");
                    break Write::Insert(link);
                }
            }
        };
        assert!(!acknowledged.is_empty());
        let found = store.look_up(&acknowledged).await.expect("an answer");
        let all = found.iter().all(|found| matches!(found, LookUp::Found(_)));
        assert!(all, "{found:?}");
        store
            .rehearse(&refused)
            .await
            .expect_err("there is no room");
        limit_pages(&store, 1_000).await;
        store.rehearse(&refused).await.expect("there is room");
    }
}

#[tokio::test]
async fn damage_is_forgotten_once_all_of_the_database_is_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let options = SqliteOptions {
        url: url.parse().expect("a URL"),
        max_connections: 2,
        timeout: TIMEOUT,
    };
    let store = SqliteStore::open(&options, StartUp { within: TIMEOUT }).await;
    let store = store.expect("a store");
    store.damage.note(&StoreError::FileDamaged);
    store.rehearse(&Write::any()).await.expect("none is known");
    store.damage.found();
    let refused = store.rehearse(&Write::any()).await;
    assert!(matches!(refused, Err(StoreError::FileDamaged)));
    let trouble = |error| panic!("{error}");
    let in_order = async {
        while store.damage.known().is_err() {
            sleep(RETRY_INTERVAL).await;
        }
    };
    tokio::select! {
        () = store.maintain(&trouble) => {}
        done = timeout(TIMEOUT, in_order) => done.expect("it is in order"),
    }
    store.rehearse(&Write::any()).await.expect("it is written");
}
