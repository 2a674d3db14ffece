//! `shunt migrate`: brings the database's tables up to date.

use shunt::{app, config::Config};
use tracing::info;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let store = app::open_store(&config.database).await?;
    store.close().await;
    info!(database = %config.database.url, "the tables are up to date");
    Ok(())
}
