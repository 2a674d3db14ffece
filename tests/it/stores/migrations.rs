//! Migrations while the previous release serves.

use std::{path::Path, time::Duration};

use sqlx::{Connection, PgConnection, migrate::Migrator};
use testkit::needs;
use tokio::time::{sleep, timeout};

use super::place::Place;

/// Brings a database up to the tables of an earlier release.
async fn migrate_to(version: i64, connection: &mut PgConnection) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let earlier = tempfile::tempdir().expect("a temporary directory");
    for file in std::fs::read_dir(folder).expect("the migrations") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name");
        let number = name.to_str().and_then(|name| name.get(..4)?.parse().ok());
        if number.is_some_and(|number: i64| number <= version) {
            std::fs::copy(&path, earlier.path().join(name)).expect("a copy");
        }
    }
    let migrator = Migrator::new(earlier.path()).await.expect("migrations");
    migrator.run(connection).await.expect("tables");
}

/// A backup reads the table for minutes. Whoever needs the table behind a migration that waits for it would wait as
/// long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_backup_does_not_keep_requests_waiting() {
    needs!("postgres");
    let place = Place::postgres().await;
    let Place::Postgres(database) = &place else {
        unreachable!("it is Postgres");
    };
    let mut backup = database.connect().await;
    migrate_to(3, &mut backup).await;
    let mut backup = backup.begin().await.expect("a transaction");
    let count = "SELECT count(*) FROM urls";
    let counted = sqlx::raw_sql(count).execute(&mut *backup).await;
    counted.expect("it can be read");

    let requests = async {
        let mut reader = database.connect().await;
        for _ in 0..30 {
            let read = sqlx::raw_sql(count).execute(&mut reader);
            let read = timeout(Duration::from_secs(10), read).await;
            read.expect("an answer in time").expect("an answer");
            sleep(Duration::from_millis(100)).await;
        }
        backup.commit().await.expect("the end of the backup");
    };
    let (opened, ()) = tokio::join!(place.open(), requests);
    opened.ping().await.expect("the tables are up to date");
    let migrated = "SELECT count(*) FROM pg_attribute
                    WHERE attrelid = 'urls'::regclass AND attname = 'owner'";
    assert_eq!(database.number(migrated).await, 1);
}
