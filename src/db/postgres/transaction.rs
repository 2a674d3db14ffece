//! Transactions, which are done again when Postgres gives them up.

use futures_util::future::BoxFuture;
use sqlx::{Connection, PgConnection};

use super::pool::{Pool, Work};
use crate::db::{DatabaseError, Ending};

/// What a transaction works on, and what it does.
type Transaction<'a, A, T> = (&'a A, Work<A, Ending<T>>);

impl Pool {
    /// Runs `work` in a transaction, within the bound of a request. If this fails, nothing is stored, unless the answer
    /// to the commit was lost.
    ///
    /// Runs `work` again if Postgres gave the transaction up for the sake of another one.
    pub(crate) async fn transact<A: Sync + ?Sized, T: Send>(
        &self,
        arguments: &A,
        work: Work<A, Ending<T>>,
    ) -> Result<T, DatabaseError> {
        self.write(&(arguments, work), run).await
    }
}

/// Runs `work` in a transaction. Begins anew, for as long as the caller waits, if two transactions were in each other's
/// way and Postgres has chosen this one to go.
fn run<'c, A: Sync + ?Sized, T: Send>(
    connection: &'c mut PgConnection,
    (arguments, work): &'c Transaction<'_, A, T>,
) -> BoxFuture<'c, Result<T, sqlx::Error>> {
    Box::pin(async move {
        loop {
            match once(connection, *arguments, *work).await {
                Err(error) if was_in_the_way(&error) => {}
                done => return done,
            }
        }
    })
}

async fn once<A: Sync + ?Sized, T: Send>(
    connection: &mut PgConnection,
    arguments: &A,
    work: Work<A, Ending<T>>,
) -> Result<T, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    match work(&mut transaction, arguments).await? {
        Ending::Commit(done) => transaction.commit().await.map(|()| done),
        Ending::RollBack(done) => transaction.rollback().await.map(|()| done),
    }
}

/// 40001: the transactions cannot be put in an order (only where an administrator has set a higher isolation level as
/// the default). 40P01: each waits for a lock that the other holds.
fn was_in_the_way(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "40001" || code == "40P01")
}
