//! `shunt migrate`: brings the database's tables up to date.

use shunt::{app, config::Config};
use tracing::info;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let database = app::open_database(&config.database).await?;
    database.close().await;
    info!(database = %config.database.url, "the tables are up to date");
    Ok(())
}
