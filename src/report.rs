//! Where the program reports warnings and its failure: to the log, or to standard error.

use shunt::{
    config::LogConfig,
    telemetry::{self, Logs},
};
use tracing::{error, warn};

/// Reports what goes wrong. On drop, at the end of the process, it waits until the log lines so far are written.
pub(crate) enum Report {
    /// `None` if the log could not be started.
    Log {
        _lines: Option<Logs>,
    },
    StandardError,
}

impl Report {
    /// Starts the log, for a command that runs unattended.
    pub(crate) fn to_log(config: &LogConfig) -> Self {
        let started = telemetry::init_logging(config.format.json(), config.level.targets.clone());
        let lines =
            started.inspect_err(|error| eprintln!("shunt: cannot start the log: {error:#}"));
        Self::Log { _lines: lines.ok() }
    }

    /// For a command whose answer goes to standard output.
    pub(crate) fn to_standard_error() -> Self {
        Self::StandardError
    }

    pub(crate) fn warning(&self, warning: &str) {
        match self {
            Self::Log { .. } => warn!("{warning}"),
            Self::StandardError => eprintln!("shunt: {warning}"),
        }
    }

    pub(crate) fn failure(&self, error: &anyhow::Error) {
        match self {
            Self::Log { .. } => error!(error = telemetry::chain(error.as_ref()), "giving up"),
            Self::StandardError => eprintln!("shunt: {error:#}"),
        }
    }
}
