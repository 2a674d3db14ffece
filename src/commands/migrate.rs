//! `shunt migrate`: brings the database's tables up to date, and makes the index that `links.ignore_case` needs.

use shunt::{app, config::Config};
use tracing::info;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let database = app::open_database(&config.database).await?;
    let links = app::open_link_store(config, &database).await;
    database.close().await;
    links?;
    info!(database = %config.database.url, "the tables are up to date");
    Ok(())
}
