//! What other nodes, and anybody else, change in the table: announced by its triggers (`migrations/postgres`) on a channel
//! that every node listens on.

use std::{io, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, Postgres,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::time::{Instant, timeout};

use super::database_error;
use crate::links::{Change, ShortCode, StoreError};

/// Links that have changed: their codes, or [`EVERYTHING`].
const CHANNEL: &str = "shunt_links";

/// The payload that stands for all codes. No code is called so.
const EVERYTHING: &str = "*";

/// How often the connection is tried while nothing comes. One whose other end is gone, without a word, looks just like
/// one on which nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long an answer to a heartbeat may take.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens on a connection of its own, beside those that requests use.
pub(super) struct Changes {
    connect: PgConnectOptions,
    timeout: Duration,
}

impl Changes {
    pub(super) fn new(connect: PgConnectOptions, timeout: Duration) -> Self {
        Self { connect, timeout }
    }

    /// As [`LinkStore::watch`](crate::links::LinkStore::watch).
    pub(super) async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> StoreError {
        let mut listener = match timeout(self.timeout, self.listen()).await {
            Ok(Ok(listener)) => listener,
            Ok(Err(error)) => return database_error(error),
            Err(_) => return StoreError::Timeout(self.timeout),
        };
        report(Change::Watching);
        let mut heard = Instant::now();
        loop {
            match timeout(
                HEARTBEAT.saturating_sub(heard.elapsed()),
                listener.try_recv(),
            )
            .await
            {
                Ok(Ok(Some(notification))) => match notification.payload() {
                    EVERYTHING => report(Change::Everything),
                    code => {
                        if let Some(code) = ShortCode::parse(code) {
                            report(Change::Link(code));
                        }
                    }
                },
                Ok(Ok(None)) => {
                    let lost = io::Error::from(io::ErrorKind::ConnectionAborted);
                    return database_error(lost.into());
                }
                Ok(Err(error)) => return database_error(error),
                Err(_) => {
                    // What is announced meanwhile is kept for `try_recv`.
                    match timeout(HEARTBEAT_TIMEOUT, listener.execute("SELECT 1")).await {
                        Ok(Ok(_)) => heard = Instant::now(),
                        Ok(Err(error)) => return database_error(error),
                        Err(_) => return StoreError::Timeout(HEARTBEAT_TIMEOUT),
                    }
                }
            }
        }
    }

    /// A listener that is known to hear: behind a pooler that hands out another connection for every transaction, LISTEN
    /// succeeds and nothing ever comes.
    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        // A pool for each attempt: the connection of the one before may still hang in its last words.
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.connect.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let probe = format!("{CHANNEL}_probe_{:016x}", rand::random::<u64>());
        listener.listen_all([CHANNEL, &probe]).await?;
        // From another connection: such a pooler would bring our own back to us.
        let mut other = self.connect.connect().await?;
        sqlx::query("SELECT pg_notify($1, '')")
            .bind(&probe)
            .execute(&mut other)
            .await?;
        other.close().await?;
        // Whatever is announced before the probe comes back was committed before anything is remembered.
        while listener.recv().await?.channel() != probe {}
        listener.unlisten(&probe).await?;
        Ok(listener)
    }
}
