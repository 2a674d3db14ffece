//! The command line.

use std::path::PathBuf;

use clap::Parser;
use shunt::config::{Config, ConfigError, ListenAddress, Loaded};

use crate::commands::Command;

/// A self-hosted URL shortener whose nodes share one exact rate limit.
///
/// Without a configuration it keeps links in shunt.db and counts in this process. DATABASE_URL and REDIS_URL
/// make it one of many nodes.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Configuration file (TOML); also SHUNT_CONFIG
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Address and port to listen on; short for --set http.bind=…
    #[arg(long, value_name = "ADDRESS", global = true)]
    bind: Option<ListenAddress>,

    /// Sets one key, such as limiter.quota=100/hour; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    settings: Vec<(String, String)>,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// The command to run: `serve` if none is given.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve)
    }

    /// Loads the configuration from the file, the environment and the flags.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub(crate) fn load_config(&self) -> Result<Loaded, ConfigError> {
        let mut flags = self.settings.clone();
        if let Some(bind) = self.bind {
            flags.push(("http.bind".to_owned(), bind.to_string()));
        }
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            // Every name that Shunt reads is UTF-8.
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if Config::reads(&name) => {
                    return Err(ConfigError {
                        key: name,
                        problem: "the value is not UTF-8".to_owned(),
                    });
                }
                Err(_) => {}
            }
        }
        Config::load(self.config.as_deref(), environment, &flags)
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}
