//! The commands, one file each.
//!
//! To add a command: write a file with its `run` (and its arguments, as a [`clap::Args`]), then a variant of
//! [`Command`], whose doc comment is what `shunt --help` says of it, and an arm in [`Command::run`]. A command that
//! needs the database opens it with [`shunt::app::open_database`].

mod config;
mod healthcheck;
mod keys;
mod migrate;
mod serve;

use std::io;

use clap::Subcommand;
use shunt::config::Config;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve (the default)
    Serve,
    /// Bring the database's tables up to date, and do nothing else
    Migrate,
    /// Ask a running node whether it is ready; the exit code tells
    Healthcheck(healthcheck::Arguments),
    /// Print the effective configuration, without secrets
    Config,
    /// Make, list, revoke and rotate API keys
    #[command(subcommand)]
    Keys(keys::Command),
}

impl Command {
    /// Whether the command runs unattended and reports to the log. Any other prints its answer to standard output, and
    /// reports to standard error.
    pub(crate) fn logs(&self) -> bool {
        matches!(self, Self::Serve | Self::Migrate)
    }

    /// Whether the command reports what is set but has no effect. A health check runs every few seconds, and container
    /// engines keep what it prints.
    pub(crate) fn warns(&self) -> bool {
        !matches!(self, Self::Healthcheck(_))
    }

    /// Schedules this thread, and those that it starts from now on, as `http.scheduling` says.
    ///
    /// # Errors
    /// If the kernel, or a sandbox, does not allow it.
    pub(crate) fn schedule_threads(&self, config: &Config) -> io::Result<()> {
        match self {
            Self::Serve => config.http.scheduling.apply(),
            _ => Ok(()),
        }
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// If the command fails: the process ends with exit code 1.
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Serve => serve::run(config).await,
            Self::Migrate => migrate::run(config).await,
            Self::Healthcheck(arguments) => healthcheck::run(config, &arguments).await,
            Self::Config => config::run(config),
            Self::Keys(command) => keys::run(config, command).await,
        }
    }
}
