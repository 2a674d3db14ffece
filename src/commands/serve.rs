//! `shunt serve`: serves until a stop signal.

use std::io::{IsTerminal, stdout};

use shunt::{
    config::Config,
    lifecycle::{Application, StopSignals},
};
use tracing::info;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    // Listens for signals before it does anything that takes long, so that a signal during the start is not lost.
    let mut signals = StopSignals::listen()?;
    let application = tokio::select! {
        built = Application::build(config) => built?,
        () = signals.received() => return Ok(()),
    };
    info!(
        links = %config.database.url,
        limit = limit(config),
        management = application.management_address().map(|address| format!("http://{address}")),
        "listening on http://{}",
        application.public_address()
    );
    // The log is on standard output. A program that reads it needs no advice.
    if stdout().is_terminal() && application.keys().any().await == Ok(false) {
        info!(
            "there is no API key yet; `shunt keys create --name admin --scope admin` makes one that may do everything"
        );
    }
    application.run_until_stopped(signals).await?;
    info!("stopped");
    Ok(())
}

/// The limit in the words of the log: `10/minute per client, counted in this process`.
fn limit(config: &Config) -> String {
    if !config.limiter.enabled {
        return "none".to_owned();
    }
    let quota = config.limiter.quota;
    match &config.redis.url {
        Some(redis) => format!("{quota} per client, counted in {}", redis.endpoint),
        None => format!("{quota} per client, counted in this process"),
    }
}
