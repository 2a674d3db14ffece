//! The table that links are written to.

use anyhow::ensure;
use sqlx::{Connection, PgConnection};
use testkit::{Database, eventually};

use crate::settings::CONNECTIONS;

/// A database with the tables of a node, which no other scenario uses.
pub(crate) struct Table(Database);

impl Table {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Removes all links, and makes Postgres write its buffers to disk. So both of two measurements that are compared
    /// begin with an empty table right after a checkpoint.
    pub(crate) async fn empty(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        for statement in ["TRUNCATE urls", "CHECKPOINT"] {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    /// # Errors
    /// If there are not as many links as were made since the table was empty. The requests that were under way when a
    /// run ended may have made a link or not.
    pub(crate) async fn expect(&self, links: u64, runs: u64) -> anyhow::Result<()> {
        let found = self.0.number("SELECT count(*) FROM urls").await as u64;
        let most = links + runs * u64::from(CONNECTIONS);
        ensure!(
            (links..=most).contains(&found),
            "{links} links were made, and the table has {found}"
        );
        Ok(())
    }

    /// How many times a code was looked up so far, by Postgres's own count.
    pub(crate) async fn look_ups(&self) -> u64 {
        let count =
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'urls_short_code_key'";
        self.0.number(count).await as u64
    }

    /// Waits until Postgres has counted that many. A session reports ten seconds after its last statement.
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
