//! The index that makes codes unique regardless of case.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::time::{Instant, sleep};

use crate::{
    db::{DatabaseError, Ending, Sqlite},
    links::case::{CONFLICTS, CaseConflicts, IgnoreCaseError},
};

/// Between attempts to write to a file that another process writes to. Each attempt waits for the lock, too.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

const IS_THERE: &str = "
    SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'urls_short_code_nocase_key')";

const CREATE: &str =
    "CREATE UNIQUE INDEX urls_short_code_nocase_key ON urls (short_code COLLATE NOCASE)";

/// Makes the index if there is none. If another process writes to the file, tries again `within` this time.
///
/// # Errors
/// [`IgnoreCaseError`] if there are codes that differ only by case, or if the database fails.
pub(super) async fn ensure_index(sqlite: &Sqlite, within: Duration) -> Result<(), IgnoreCaseError> {
    let deadline = Instant::now() + within;
    // A start that has nothing to do needs no lock.
    let look = async { is_there(&mut *sqlite.reader().await?).await };
    if sqlite.read(look).await? {
        return Ok(());
    }
    loop {
        match sqlite.set_up(&(), ensure).await {
            Ok(None) => return Ok(()),
            Ok(Some(conflicts)) => return Err(conflicts.into()),
            Err(error) if is_busy(&error) && Instant::now() + RETRY_INTERVAL < deadline => {
                sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// In a transaction, so no other process makes the index or a link in the meantime.
fn ensure<'c>(
    connection: &'c mut SqliteConnection,
    (): &'c (),
) -> BoxFuture<'c, Result<Ending<Option<CaseConflicts>>, sqlx::Error>> {
    Box::pin(async move {
        if is_there(connection).await? {
            return Ok(Ending::RollBack(None));
        }
        let rows = sqlx::query_as(CONFLICTS)
            .fetch_all(&mut *connection)
            .await?;
        if let Some(conflicts) = CaseConflicts::of(rows) {
            return Ok(Ending::RollBack(Some(conflicts)));
        }
        sqlx::query(CREATE).execute(connection).await?;
        Ok(Ending::Commit(None))
    })
}

async fn is_there(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let there: Vec<bool> = sqlx::query_scalar(IS_THERE).fetch_all(connection).await?;
    Ok(there.first() == Some(&true))
}

/// Whether another process has held the lock for too long. The low byte of the code is SQLITE_BUSY.
fn is_busy(error: &DatabaseError) -> bool {
    let DatabaseError::Failed(cause) = error else {
        return false;
    };
    let cause = cause.downcast_ref::<sqlx::Error>();
    let code = cause
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::{AssertSqlSafe, Row};

    use super::super::{COUNT_VISIT, LOOK_UP, SqliteLinks, manage};
    use crate::db::Sqlite;

    /// The statements, which nothing but this module can name.
    #[tokio::test]
    async fn every_folded_statement_finds_a_code_by_the_index() {
        let sqlite: Arc<Sqlite> = Sqlite::for_tests("sqlite::memory:").await;
        let within = super::Duration::from_secs(20);
        let links = SqliteLinks::ignoring_case(sqlite.clone(), within).await;
        links.map(drop).expect("no conflicts");
        let mut writer = sqlite.writer().await.expect("the writer");
        for (name, statement) in [
            ("look_up", LOOK_UP.folded),
            ("count_visit", COUNT_VISIT.folded),
            ("read", manage::READ.folded),
            ("read_many", manage::READ_MANY.folded),
        ] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = sqlx::query(explain).bind("[\"a\"]").fetch_all(&mut *writer);
            let rows = rows.await.expect(name);
            let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
            let plan = lines.collect::<Vec<_>>().join("\n");
            assert!(
                plan.contains("INDEX urls_short_code_nocase_key"),
                "{name}\n{plan}"
            );
            assert!(
                !plan.contains("SCAN urls") && !plan.contains("SCAN named"),
                "{name}\n{plan}"
            );
        }
    }
}
