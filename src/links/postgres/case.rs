//! The index that makes codes unique regardless of case.
//!
//! It is made with `CREATE INDEX CONCURRENTLY`, so that other nodes go on writing meanwhile. Three things follow:
//!
//! - It is no part of a transaction. If it fails, it leaves an index that is invalid: never read, but it refuses the
//!   spellings of codes that are taken. Such an index is removed, which also waits for a backup and may fail; then the log
//!   says how to do it, and so does the next start.
//! - It waits for the end of every transaction that began before, such as a backup.
//! - That includes a statement of another node that waits for a lock. So a node that finds another one at work asks for
//!   the lock again and again, and never waits for it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use crate::{
    db::{DatabaseError, Postgres},
    links::case::{CONFLICTS, CaseConflicts, IgnoreCaseError},
    telemetry::chain,
};

/// Between looks at whether another node has made the index.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Between attempts to reach a database that was away for a moment.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(500);

/// How long the removal of an index that was not completed may take. The next start tries again.
const REMOVAL: Duration = Duration::from_secs(2);

/// The classes of errors that end by themselves: of the connection, a conflict of transactions, too little of something,
/// a lock, a server that stops or starts.
const TEMPORARY: [&str; 5] = ["08", "40", "53", "55", "57"];

const IS_VALID: &str =
    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('urls_short_code_nocase_key')";

/// One node at a time, until its connection ends.
const TRY_LOCK: &str =
    "SELECT pg_try_advisory_lock(hashtextextended('urls_short_code_nocase_key', 0))";

/// The server gives a statement up by itself: a node that went away would leave it running.
const BOUND: &str = "SELECT set_config('statement_timeout', $1, false)";

const CREATE: &str =
    "CREATE UNIQUE INDEX CONCURRENTLY urls_short_code_nocase_key ON urls (lower(short_code))";

const REMOVE: &str = "DROP INDEX CONCURRENTLY IF EXISTS urls_short_code_nocase_key";

/// Makes the index if there is none. Tries again if the database is away for a moment.
///
/// # Errors
/// [`IgnoreCaseError`] if there are codes that differ only by case, if the index is not complete `within` this time, or
/// if the database fails.
pub(super) async fn ensure_index(
    postgres: &Postgres,
    within: Duration,
) -> Result<(), IgnoreCaseError> {
    let deadline = Instant::now() + within;
    loop {
        // The server keeps the bound. If it does not answer at all, neither does the removal.
        let attempt = timeout_at(deadline + 2 * REMOVAL, attempt(postgres, deadline, within));
        let error = match attempt.await {
            Ok(Err(IgnoreCaseError::Database(error))) => error,
            Ok(done) => return done,
            Err(_) => return Err(IgnoreCaseError::TooSlow(within)),
        };
        if !is_temporary(&error) || Instant::now() + RECONNECT_INTERVAL > deadline {
            return Err(error.into());
        }
        warn!(
            error = chain(&error),
            "cannot make the index on codes regardless of case yet"
        );
        sleep(RECONNECT_INTERVAL).await;
    }
}

/// Warns if the index is there and not complete, for a node that does not need it. A database that does not answer is
/// asked no more: others notice that.
pub(super) async fn warn_if_incomplete(postgres: &Postgres) {
    if let Ok(Some(false)) = postgres.pool.read(&(), look).await {
        warn!(
            remove = REMOVE,
            "the index on codes regardless of case is incomplete: new codes are refused if another spelling is taken, \
             until it is removed; leave it if a node that ignores case is starting now"
        );
    }
}

fn look<'c>(
    connection: &'c mut PgConnection,
    (): &'c (),
) -> BoxFuture<'c, Result<Option<bool>, sqlx::Error>> {
    Box::pin(is_valid(connection))
}

async fn attempt(
    postgres: &Postgres,
    deadline: Instant,
    within: Duration,
) -> Result<(), IgnoreCaseError> {
    let mut connection = postgres.connection().await?;
    ensure(&mut connection, deadline, within).await?;
    // This releases the lock. The server notices in any case that the connection is gone.
    let _ = timeout(REMOVAL, connection.close()).await;
    Ok(())
}

async fn ensure(
    connection: &mut PgConnection,
    deadline: Instant,
    within: Duration,
) -> Result<(), IgnoreCaseError> {
    let failed = |error| {
        if is_given_up(&error) {
            IgnoreCaseError::TooSlow(within)
        } else {
            DatabaseError::from(error).into()
        }
    };
    loop {
        if is_valid(connection).await.map_err(failed)? == Some(true) {
            return Ok(());
        }
        if is_locked(connection).await.map_err(failed)? {
            break;
        }
        if Instant::now() + RETRY_INTERVAL > deadline {
            return Err(IgnoreCaseError::TooSlow(within));
        }
        sleep(RETRY_INTERVAL).await;
    }
    let made = make(connection, deadline).await;
    if !matches!(made, Ok(None))
        && let Err(error) = clean_up(connection).await
    {
        warn!(
            error = chain(&error),
            remove = REMOVE,
            "the incomplete index on codes regardless of case may still be there: new codes are refused if another \
             spelling is taken, until it is removed or completed by the next start"
        );
    }
    match made.map_err(failed)? {
        None => Ok(()),
        Some(conflicts) => Err(conflicts.into()),
    }
}

/// Removes an index that is not complete.
async fn clean_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    bound(connection, REMOVAL).await?;
    if is_valid(connection).await? == Some(false) {
        connection.execute(REMOVE).await?;
    }
    Ok(())
}

/// Makes the index, under the lock. Returns the codes that are in its way.
async fn make(
    connection: &mut PgConnection,
    deadline: Instant,
) -> Result<Option<CaseConflicts>, sqlx::Error> {
    loop {
        bound_until(connection, deadline).await?;
        match is_valid(connection).await? {
            // Another node has made it, and has released the lock.
            Some(true) => return Ok(None),
            Some(false) => {
                connection.execute(REMOVE).await?;
            }
            None => {}
        }
        bound_until(connection, deadline).await?;
        let rows = sqlx::query_as(CONFLICTS)
            .fetch_all(&mut *connection)
            .await?;
        if let Some(conflicts) = CaseConflicts::of(rows) {
            return Ok(Some(conflicts));
        }
        bound_until(connection, deadline).await?;
        match connection.execute(CREATE).await {
            Ok(_) => return Ok(None),
            // A link was made in the meantime. It is found by the next look.
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether there is such an index, and whether it is complete.
async fn is_valid(connection: &mut PgConnection) -> Result<Option<bool>, sqlx::Error> {
    let valid: Vec<bool> = sqlx::query_scalar(IS_VALID).fetch_all(connection).await?;
    Ok(valid.first().copied())
}

async fn is_locked(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let locked: Vec<bool> = sqlx::query_scalar(TRY_LOCK).fetch_all(connection).await?;
    Ok(locked.first() == Some(&true))
}

/// The next statement may take all the time that is left.
async fn bound_until(connection: &mut PgConnection, deadline: Instant) -> Result<(), sqlx::Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    bound(connection, left).await
}

/// How long each statement may take from now on.
async fn bound(connection: &mut PgConnection, time: Duration) -> Result<(), sqlx::Error> {
    // 0 would be no bound.
    let milliseconds = time.as_millis().max(1).to_string();
    let bound = sqlx::query(BOUND).bind(milliseconds);
    bound.fetch_all(connection).await.map(drop)
}

fn is_conflict(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// Whether the server has given a statement up, because its time was over.
fn is_given_up(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("57014")
}

/// Whether the next attempt may succeed.
fn is_temporary(error: &DatabaseError) -> bool {
    let DatabaseError::Failed(cause) = error else {
        return matches!(error, DatabaseError::Timeout(_));
    };
    let cause = cause.downcast_ref::<sqlx::Error>();
    let code = cause
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code());
    code.is_none_or(|code| TEMPORARY.iter().any(|class| code.starts_with(class)))
}

#[cfg(test)]
mod tests;
