//! A database that SQLite has found to be damaged, until it is found in order.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::Connection;
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::connections::Connections;
use crate::{links::StoreError, telemetry::chain};

/// Between two looks at all of the database.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What SQLite says of a damaged file: `SQLITE_CORRUPT`, `SQLITE_NOTADB`, and `SQLITE_IOERR_SHORT_READ`. The first two
/// have variants, which differ beyond the first eight bits.
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;
const SHORT_READ: i32 = 522;

/// Whether a write has met damage. That another write meets none says nothing: it may touch other pages.
#[derive(Default)]
pub(super) struct Damage {
    is_found: AtomicBool,
    found: Notify,
}

impl Damage {
    /// # Errors
    /// [`StoreError::FileDamaged`] if damage was found.
    pub(super) fn known(&self) -> Result<(), StoreError> {
        match self.is_found.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(StoreError::FileDamaged),
        }
    }

    /// Remembers an error that means damage.
    pub(super) fn note(&self, error: &StoreError) {
        if is_damage(error) {
            self.found();
        }
    }

    pub(super) fn found(&self) {
        self.is_found.store(true, Ordering::Relaxed);
        self.found.notify_one();
    }

    /// Whenever damage was found, reads all of the database until it is in order. However long that takes: nothing is written
    /// meanwhile. Never returns.
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

fn is_damage(error: &StoreError) -> bool {
    let StoreError::Database(cause) = error else {
        return false;
    };
    let code = cause
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code == SHORT_READ || matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
}
