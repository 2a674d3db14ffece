//! The table that links are written to.

use anyhow::ensure;
use sqlx::{Connection, PgConnection};
use testkit::{Database, eventually};

use crate::settings::CONNECTIONS;

/// A database with the tables of a node, and nobody else's links.
pub(crate) struct Table(Database);

impl Table {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Removes all links, and writes out what Postgres still holds: each measurement begins with an empty table right
    /// after a checkpoint, and not just one of two that are compared.
    pub(crate) async fn empty(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        for statement in ["TRUNCATE urls", "CHECKPOINT"] {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    /// # Errors
    /// If there are not as many links as were made since the table was empty. Those that nobody waited for any more
    /// when a run ended may be there or not.
    pub(crate) async fn expect(&self, links: u64, runs: u64) -> anyhow::Result<()> {
        let found = self.0.number("SELECT count(*) FROM urls").await as u64;
        let most = links + runs * u64::from(CONNECTIONS);
        ensure!(
            (links..=most).contains(&found),
            "{links} links were made, and the table has {found}"
        );
        Ok(())
    }

    /// How often a code was looked for so far, by Postgres's own count.
    pub(crate) async fn look_ups(&self) -> u64 {
        let count =
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'urls_short_code_key'";
        self.0.number(count).await as u64
    }

    /// Waits until that many were counted: a session that has nothing to do reports after ten seconds.
    ///
    /// # Panics
    /// If that never happens.
    pub(crate) async fn expect_look_ups(&self, look_ups: u64) {
        let what = format!("Postgres has looked for a code {look_ups} times");
        eventually(&what, async || {
            (self.look_ups().await >= look_ups).then_some(())
        })
        .await;
    }
}
