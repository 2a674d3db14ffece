//! Tests that need private parts: damage is noted without damaging a file.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn damage_is_forgotten_once_all_of_the_database_is_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let sqlite = Sqlite::for_tests(&url).await;
    let write = async || {
        let write = async {
            let mut writer = sqlite.writer().await?;
            let write = sqlx::query("PRAGMA user_version = 1");
            write.execute(&mut *writer).await.map(drop)
        };
        sqlite.write(write).await
    };
    sqlite.damage.note(&DatabaseError::FileDamaged);
    write().await.expect("none is known");
    sqlite.damage.found();
    let refused = write().await;
    assert!(matches!(refused, Err(DatabaseError::FileDamaged)));
    let trouble = |error| panic!("{error}");
    let in_order = async {
        while sqlite.damage.known().is_err() {
            sleep(RETRY_INTERVAL).await;
        }
    };
    tokio::select! {
        () = sqlite.maintain(&trouble) => {}
        done = timeout(TIMEOUT, in_order) => done.expect("it is in order"),
    }
    write().await.expect("it is written");
}
