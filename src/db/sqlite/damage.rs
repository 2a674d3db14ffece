//! A database that SQLite has found to be damaged, until a check finds it in order.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::Connection;
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::connections::Connections;
use crate::{db::DatabaseError, telemetry::chain};

/// Between two checks of the whole database.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// SQLite's codes for a damaged file: `SQLITE_CORRUPT`, `SQLITE_NOTADB`, and `SQLITE_IOERR_SHORT_READ`. The first two
/// have variants, which differ beyond the lowest eight bits.
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;
const SHORT_READ: i32 = 522;

/// Whether a write has met damage. Another write that succeeds proves nothing: it may touch other pages.
#[derive(Default)]
pub(super) struct Damage {
    is_found: AtomicBool,
    found: Notify,
}

impl Damage {
    /// # Errors
    /// [`DatabaseError::FileDamaged`] if damage was found.
    pub(super) fn known(&self) -> Result<(), DatabaseError> {
        match self.is_found.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(DatabaseError::FileDamaged),
        }
    }

    /// Remembers an error that means damage.
    pub(super) fn note(&self, error: &DatabaseError) {
        if is_damage(error) {
            self.found();
        }
    }

    pub(super) fn found(&self) {
        self.is_found.store(true, Ordering::Relaxed);
        self.found.notify_one();
    }

    /// Whenever damage was found, checks the whole database until it is in order. A check has no time limit: nothing is
    /// written meanwhile. Never returns.
    pub(super) async fn look(&self, connections: &Connections) {
        loop {
            self.found.notified().await;
            while self.is_found.load(Ordering::Relaxed) {
                match is_in_order(connections).await {
                    Ok(true) => self.is_found.store(false, Ordering::Relaxed),
                    Ok(false) => sleep(LOOK_INTERVAL).await,
                    Err(error) => {
                        let error = chain(&error);
                        warn!(error, "the damaged database cannot be read");
                        sleep(LOOK_INTERVAL).await;
                    }
                }
            }
        }
    }
}

async fn is_in_order(connections: &Connections) -> Result<bool, sqlx::Error> {
    let mut connection = connections.fresh().await?;
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    Ok(findings == ["ok"])
}

fn is_damage(error: &DatabaseError) -> bool {
    let DatabaseError::Failed(cause) = error else {
        return false;
    };
    let code = cause
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code == SHORT_READ || matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
}
