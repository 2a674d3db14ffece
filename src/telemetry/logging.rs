//! Log lines: text for people, JSON for machines.

use std::{error::Error, io::IsTerminal};

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

/// An error with its causes, as one text: `the database failed: connection refused`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Many errors print their cause themselves.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
