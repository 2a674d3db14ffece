//! Notifications of Postgres, on a connection that is known to hear them.

use std::{io, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, Postgres,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::time::{Instant, timeout};

use crate::db::DatabaseError;

/// How often the connection is tested while no notification comes. A connection whose other end has vanished looks just
/// like one on which nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long an answer to a heartbeat may take.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens on one channel. Misses no notification that is committed after [`open`](Self::open) has returned, until
/// [`next`](Self::next) fails.
pub(crate) struct Listener {
    listener: PgListener,
    /// When the connection was tested last.
    tried: Instant,
}

impl Listener {
    pub(super) async fn open(
        connect: &PgConnectOptions,
        bound: Duration,
        channel: &str,
    ) -> Result<Self, DatabaseError> {
        let listener = timeout(bound, listen(connect, channel))
            .await
            .map_err(|_| DatabaseError::Timeout(bound))??;
        Ok(Self {
            listener,
            tried: Instant::now(),
        })
    }

    /// Waits for the next notification, without a bound, and returns its payload. Meanwhile tests the connection every
    /// second.
    ///
    /// # Errors
    /// [`DatabaseError`] once the connection is lost: what is announced from now on is missed.
    pub(crate) async fn next(&mut self) -> Result<String, DatabaseError> {
        loop {
            let until_heartbeat = HEARTBEAT.saturating_sub(self.tried.elapsed());
            match timeout(until_heartbeat, self.listener.try_recv()).await {
                Ok(Ok(Some(notification))) => return Ok(notification.payload().to_owned()),
                Ok(Ok(None)) => {
                    let lost = io::Error::from(io::ErrorKind::ConnectionAborted);
                    return Err(sqlx::Error::from(lost).into());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.try_connection().await?,
            }
        }
    }

    /// What is announced meanwhile is not lost: `try_recv` returns it later.
    async fn try_connection(&mut self) -> Result<(), DatabaseError> {
        timeout(HEARTBEAT_TIMEOUT, self.listener.execute("SELECT 1"))
            .await
            .map_err(|_| DatabaseError::Timeout(HEARTBEAT_TIMEOUT))??;
        self.tried = Instant::now();
        Ok(())
    }
}

/// Proves that the connection hears: behind a pooler that hands out another connection for every transaction, LISTEN
/// succeeds and no notification ever comes.
async fn listen(connect: &PgConnectOptions, channel: &str) -> Result<PgListener, sqlx::Error> {
    // A pool for each attempt: the connection of the attempt before may still be closing.
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(connect.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    let probe = format!("{channel}_probe_{:016x}", rand::random::<u64>());
    listener.listen_all([channel, &probe]).await?;
    // From another connection: a pooler would bring a notification of our own back to us.
    let mut other = connect.connect().await?;
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(&probe)
        .execute(&mut other)
        .await?;
    other.close().await?;
    // Notifications before the probe may be dropped: the caller does not remember anything yet.
    while listener.recv().await?.channel() != probe {}
    listener.unlisten(&probe).await?;
    Ok(listener)
}
