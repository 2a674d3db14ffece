//! The pool of a node, and how a request uses a connection of it.

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

use crate::links::{StoreError, StoreUsage};

/// Connections that writes leave to look-ups, or half of them if there are only a few: writes may wait for a lock, or for a
/// standby that has to confirm them, while reads would be answered at once.
const FOR_READS: u32 = 4;

/// A pool of connections.
pub(super) struct Connections {
    pool: PgPool,
    /// One for each connection that may write at the same time.
    writes: Semaphore,
    timeout: Duration,
    /// Where connections live. A connection belongs to the runtime that opened it, and each HTTP worker has
    /// one that ends with it: a connection opened there would break under another worker's last requests.
    runtime: Handle,
}

/// What is done on a connection. A plain function: a closure that borrows its arguments could not be `Send` for every
/// lifetime of the connection.
pub(super) type Work<A, T> =
    for<'c> fn(&'c mut PgConnection, &'c A) -> BoxFuture<'c, Result<T, sqlx::Error>>;

/// Whether work may be done twice, where it is unknown whether the first time had an effect.
#[derive(Clone, Copy)]
pub(super) enum Repeat {
    Idempotent,
    NotIdempotent,
}

impl Connections {
    /// A pool that opens connections when they are needed, in the runtime that this is called in.
    pub(super) fn new(connect: PgConnectOptions, max_connections: u32, timeout: Duration) -> Self {
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(max_connections)
            .acquire_timeout(timeout)
            // A broken connection is found by using it; see `run`.
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

    /// Runs `work` that only reads on a connection, within the bound of a request.
    pub(super) async fn read<A: Sync + ?Sized, T: Send>(
        &self,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, StoreError> {
        let run = self.run(Repeat::Idempotent, arguments, work);
        self.within(run).await
    }

    /// Runs `work` that may write, within the bound of a request.
    pub(super) async fn write<A: Sync + ?Sized, T: Send>(
        &self,
        repeat: Repeat,
        arguments: &A,
        work: Work<A, T>,
    ) -> Result<T, StoreError> {
        let run = async {
            // Never closed.
            let _turn = self.writes.acquire().await;
            self.run(repeat, arguments, work).await
        };
        self.within(run).await
    }

    async fn within<T>(
        &self,
        run: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.timeout;
        let bounded = async { timeout_at(deadline, run).await };
        match TokioContext::new(bounded, self.runtime.clone()).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(StoreError::Database(error.into())),
            Err(_) => Err(StoreError::Timeout(self.timeout)),
        }
    }

    ///
    /// After a restart of the database the pool still holds connections to its former self. `Repeatable` work
    /// that such a connection breaks is done again on the next; other work has its connection tried first.
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
                Err((error, repeatable)) => {
                    let broken = is_broken_connection(&error);
                    if !broken {
                        lease.finish();
                    }
                    // Every idle connection may be stale, and then one new one has to do.
                    if !broken || !repeatable || stale > self.pool.options().get_max_connections() {
                        return Err(error);
                    }
                    stale += 1;
                }
            }
        }
    }

    pub(super) fn usage(&self) -> StoreUsage {
        let (open, idle) = (self.pool.size() as usize, self.pool.num_idle());
        StoreUsage {
            in_use: open.saturating_sub(idle),
            idle,
            max: self.pool.options().get_max_connections() as usize,
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection that goes back to the pool only after [`finish`](Self::finish). One that was given up in the
/// middle of an answer, or that hangs, is closed: the next user would wait for that answer.
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

/// Whether the connection itself is of no more use, so that another may do better.
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
