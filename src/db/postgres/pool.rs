//! The pool of a node, and how a request uses one of its connections.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres,
    pool::{PoolConnection, PoolOptions},
    postgres::PgConnectOptions,
};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::context::TokioContext;

use crate::db::{DatabaseError, PoolUsage};

/// How many connections writes leave to reads (half of a small pool). Writes may wait for a lock, or for a standby to
/// confirm them, while the database would answer reads at once. Lists, counts and the index of links can take five of
/// them, and look-ups must still find one.
const FOR_READS: u32 = 6;

/// A pool of connections.
pub(crate) struct Pool {
    pool: PgPool,
    /// One permit for each connection that may write at the same time.
    writes: Semaphore,
    timeout: Duration,
    /// The runtime that opens all connections. A connection ends with the runtime that opened it, and each HTTP worker
    /// has a runtime of its own: a connection opened there would break under the last requests of other workers.
    runtime: Handle,
}

/// What is done on a connection. A plain function: a closure that borrows its arguments could not be `Send` for every
/// lifetime of the connection.
pub(crate) type Work<A, T> =
    for<'c> fn(&'c mut PgConnection, &'c A) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// Whether work may be done a second time if the first time may or may not have had its effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Idempotent,
    NotIdempotent,
}

impl Pool {
    /// A pool that opens connections when they are needed, in the runtime that calls this.
    pub(super) fn new(connect: PgConnectOptions, max_connections: u32, timeout: Duration) -> Self {
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(max_connections)
            .acquire_timeout(timeout)
            // `run` finds a broken connection by using it.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        let for_writes = max_connections - FOR_READS.min(max_connections / 2);
        Self {
            pool,
            writes: Semaphore::new(for_writes as usize),
            timeout,
            runtime: Handle::current(),
        }
    }

    /// Runs `work` that only reads, within the bound of a request.
    pub(crate) async fn read<A: Sync + ?Sized, T: Send>(
        &self,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, DatabaseError> {
        let run = self.run(Repeat::Idempotent, arguments, work);
        self.within(run).await
    }

    /// Runs `work` that may write, within the bound of a request, at most once.
    pub(crate) async fn write<A: Sync + ?Sized, T: Send>(
        &self,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, DatabaseError> {
        self.write_in_turn(Repeat::NotIdempotent, arguments, work)
            .await
    }

    /// Runs `work` that may write and may be done twice, within the bound of a request. Saves the round trip that
    /// [`write`](Self::write) takes to test its connection.
    pub(crate) async fn write_idempotent<A: Sync + ?Sized, T: Send>(
        &self,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, DatabaseError> {
        self.write_in_turn(Repeat::Idempotent, arguments, work)
            .await
    }

    async fn write_in_turn<A: Sync + ?Sized, T: Send>(
        &self,
        repeat: Repeat,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, DatabaseError> {
        let run = async {
            // Fails only if the semaphore is closed, which nothing does.
            let _turn = self.writes.acquire().await;
            self.run(repeat, arguments, work).await
        };
        self.within(run).await
    }

    async fn within<T>(
        &self,
        run: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        let deadline = Instant::now() + self.timeout;
        let bounded = async { timeout_at(deadline, run).await };
        match TokioContext::new(bounded, self.runtime.clone()).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(DatabaseError::Timeout(self.timeout)),
        }
    }

    /// Runs `work` on a connection of the pool, which may be stale: after a restart of the database the pool still
    /// holds connections to the former process. Idempotent work that breaks on a stale connection is done again on the
    /// next; for other work the connection is tested first.
    async fn run<A: Sync + ?Sized, T: Send>(
        &self,
        repeat: Repeat,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, sqlx::Error> {
        let mut stale = 0;
        loop {
            let mut lease = Lease::acquire(&self.pool).await?;
            let result = match repeat {
                Repeat::Idempotent => work(&mut lease, arguments)
                    .await
                    .map_err(|error| (error, true)),
                Repeat::NotIdempotent => match lease.ping().await {
                    Err(error) => Err((error, true)),
                    Ok(()) => work(&mut lease, arguments)
                        .await
                        .map_err(|error| (error, false)),
                },
            };
            match result {
                Ok(done) => {
                    lease.finish();
                    return Ok(done);
                }
                Err((error, may_repeat)) => {
                    let broken = is_broken_connection(&error);
                    if !broken {
                        lease.finish();
                    }
                    // Every idle connection may be stale; the one after them is new.
                    if !broken || !may_repeat || stale > self.pool.options().get_max_connections() {
                        return Err(error);
                    }
                    stale += 1;
                }
            }
        }
    }

    pub(in crate::db) fn usage(&self) -> PoolUsage {
        let (open, idle) = (self.pool.size() as usize, self.pool.num_idle());
        PoolUsage {
            in_use: open.saturating_sub(idle),
            idle,
            max: self.pool.options().get_max_connections() as usize,
        }
    }

    pub(in crate::db) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection that goes back to the pool only after [`finish`](Self::finish). A connection that was given up in the
/// middle of an answer, or that hangs, is closed: its next user would wait for that answer.
struct Lease {
    connection: PoolConnection<Postgres>,
    finished: bool,
}

impl Lease {
    async fn acquire(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connection: pool.acquire().await?,
            finished: false,
        })
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}

/// Whether the connection itself broke, so that another connection may succeed.
fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // 08xxx: connection exceptions; 57P01 to 57P03: shut down, crashed, starting up.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P0")),
        _ => false,
    }
}
