//! Tests that need private parts: a file that has reached the number of pages it may have, and a database in memory.

use super::*;
use crate::links::{Alias, Edit, Edited, Editor, LinkManagement, Operation, Schemes, TargetUrl};

fn code(text: &str) -> ShortCode {
    Alias::parse(text).expect("a code").into_code()
}

async fn limit_pages(sqlite: &Sqlite, pages: u32) {
    let mut writer = sqlite.writer().await.expect("the writer");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    let limit = sqlx::query(limit).execute(&mut *writer);
    limit.await.expect("a limit");
}

#[tokio::test]
async fn of_a_file_that_has_all_its_pages_only_what_fits_is_acknowledged() {
    for deduplicated in [true, false] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", directory.path().join("links.db").display());
        let sqlite = Sqlite::for_tests(&url).await;
        let store = SqliteLinks::new(sqlite.clone());
        limit_pages(&sqlite, 30).await;
        let mut acknowledged = Vec::new();
        let refused = loop {
            let number = acknowledged.len();
            let code = code(&format!("link-{number}"));
            let target = format!("https://example.com/{number}/{}", "x".repeat(4_000));
            let target = TargetUrl::parse(&target, &Schemes::default()).expect("a URL");
            let link = NewLink {
                deduplicated,
                ..NewLink::new(code, target)
            };
            match store.insert(&link).await {
                Ok(Created::Stored(stored)) => acknowledged.push(stored),
                Ok(Created::Replaced(_) | Created::CodeTaken) => {
                    unreachable!("no two are the same")
                }
                Err(error) => {
                    assert!(format!("{error:?}").contains("full"), "{error:?}");
                    break Write::Insert(Box::new(link));
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
        limit_pages(&sqlite, 1_000).await;
        store.rehearse(&refused).await.expect("there is room");
    }
}

/// Its only connection is the database: if it were closed after a failure, as that of a file is, all links would be gone.
#[tokio::test]
async fn a_database_in_memory_survives_what_a_commit_refuses() {
    let sqlite = Sqlite::for_tests("sqlite::memory:").await;
    let store = SqliteLinks::new(sqlite.clone());
    let execute = async |sql: &'static str| {
        let mut writer = sqlite.writer().await.expect("the writer");
        let done = sqlx::raw_sql(sql).execute(&mut *writer).await;
        done.expect(sql);
    };
    let target = TargetUrl::parse("https://example.com/", &Schemes::default()).expect("a URL");
    let link = NewLink::new(code("link"), target);
    store.insert(&link).await.expect("it is stored");
    execute(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER refuse AFTER UPDATE ON urls BEGIN INSERT INTO children (parent) VALUES (1); END",
    )
    .await;
    let delete = Edit {
        code: link.code.clone(),
        editor: Editor::Administrator,
        only_if: None,
        operation: Operation::Delete,
    };
    for _ in 0..2 {
        store.edit(&delete).await.expect_err("it is not committed");
        let found = store.look_up(std::slice::from_ref(&link.code)).await;
        let found = found.expect("an answer");
        assert!(matches!(found[..], [LookUp::Found(_)]), "{found:?}");
    }
    execute("DROP TRIGGER refuse").await;
    let deleted = store.edit(&delete).await.expect("an answer");
    assert!(matches!(deleted, Edited::Done(_)), "{deleted:?}");
    let found = store.look_up(std::slice::from_ref(&link.code)).await;
    assert_eq!(found.expect("an answer"), [LookUp::Gone]);
}
