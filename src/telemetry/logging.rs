//! Log lines: text for people, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging to standard output: JSON lines or text.
///
/// # Errors
/// If logging was started before.
pub fn init_logging(
    json: Option<bool>,
    filter: Targets,
) -> Result<(), tracing_subscriber::util::TryInitError> {
    let terminal = std::io::stdout().is_terminal();
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    if json.unwrap_or(!terminal) {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry
            .with(layer.with_ansi(terminal).with_target(false))
            .try_init()
    }
}
