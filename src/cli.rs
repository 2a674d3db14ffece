//! The command line.

use std::path::PathBuf;

use clap::Parser;
use shunt::config::{Config, ConfigError, Loaded};

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
    // Parsed with the other keys: an error of `clap` would show the value.
    #[arg(long, value_name = "ADDRESS", global = true)]
    bind: Option<String>,

    /// Sets one key, such as limiter.quota=100/hour; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    settings: Vec<String>,

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
        let flags = self.settings.iter().map(|text| key_and_value(text));
        let mut flags = flags.collect::<Result<Vec<_>, _>>()?;
        if let Some(bind) = &self.bind {
            flags.push(("http.bind".to_owned(), bind.clone()));
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

/// The key and the value of a `--set`. `clap` does not parse them, because its errors would show the value. A text that
/// cannot be a key, such as a URL with `=` in its query, is not shown either.
fn key_and_value(text: &str) -> Result<(String, String), ConfigError> {
    let in_keys = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match text.split_once('=').map(|(key, value)| (key.trim(), value)) {
        Some((key, value)) if !key.is_empty() && key.chars().all(in_keys) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(ConfigError {
            key: "--set".to_owned(),
            problem: "expected KEY=VALUE".to_owned(),
        }),
    }
}
