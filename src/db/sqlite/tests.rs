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

/// It may be committed all the same, and a node hears of what its own connection commits by nothing but the number of
/// that connection.
#[tokio::test]
async fn a_transaction_that_is_given_up_changes_the_version_of_a_file() {
    fn waits<'c>(
        _: &'c mut SqliteConnection,
        (): &'c (),
    ) -> BoxFuture<'c, Result<Ending<()>, sqlx::Error>> {
        Box::pin(async {
            sleep(TIMEOUT).await;
            Ok(Ending::RollBack(()))
        })
    }

    fn ends<'c>(
        _: &'c mut SqliteConnection,
        (): &'c (),
    ) -> BoxFuture<'c, Result<Ending<()>, sqlx::Error>> {
        Box::pin(async { Ok(Ending::Commit(())) })
    }

    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let sqlite = Sqlite::for_tests(&url).await;
    let version = async || sqlite.data_version().await.expect("a version");
    let before = version().await;
    sqlite.transact(&(), ends).await.expect("it ends");
    assert_eq!(version().await, before, "it was waited for");
    let given_up = timeout(Duration::from_millis(50), sqlite.transact(&(), waits)).await;
    assert!(given_up.is_err(), "it goes on");
    assert_ne!(version().await, before);
}
