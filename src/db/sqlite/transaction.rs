//! Transactions on the connection that writes.

use sqlx::{Connection, SqliteConnection};

use super::Work;
use crate::db::Ending;

/// Takes the lock of the writer first: what `work` reads cannot change before it writes.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Runs `work` in a transaction, which ends as `work` says.
pub(super) async fn run<A: ?Sized, T>(
    writer: &mut SqliteConnection,
    arguments: &A,
    work: Work<A, Ending<T>>,
) -> Result<T, sqlx::Error> {
    let mut transaction = writer.begin_with(BEGIN).await?;
    match work(&mut transaction, arguments).await? {
        Ending::Commit(done) => transaction.commit().await.map(|()| done),
        Ending::RollBack(done) => transaction.rollback().await.map(|()| done),
    }
}

/// Runs `work` in a transaction, and commits it.
pub(super) async fn commit<A: ?Sized>(
    writer: &mut SqliteConnection,
    arguments: &A,
    work: Work<A>,
) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with(BEGIN).await?;
    work(&mut transaction, arguments).await?;
    transaction.commit().await
}
