//! `[log]`: what is logged.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

use super::value::{choice, text};

/// What is logged.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LogConfig {
    /// `text`, `json`, or `auto`, which is text on a terminal, else JSON. Default `auto`.
    #[serde(deserialize_with = "choice")]
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` (with a line per request) or `trace`, also by module, such as
    /// `info,shunt::limiter=debug`. Default `info`.
    #[serde(with = "text")]
    pub level: LogLevel,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Whether log lines are JSON; `None` where that depends on the terminal.
    pub fn json(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Text => Some(false),
            Self::Json => Some(true),
        }
    }
}

/// Libraries that log less unless `log.level` names them: they report their own start, and the web server reports every
/// client that sends nonsense.
const QUIET: &str = "actix_server=warn,actix_http=off,sqlx=warn";

/// Which log lines are written.
#[derive(Clone, Debug)]
pub struct LogLevel {
    text: String,
    /// The parsed filter.
    pub targets: Targets,
}

impl Default for LogLevel {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a constant, covered by a test")]
        "info".parse().expect("the default level parses")
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "not a level like `info` or `info,shunt=debug`";
        // `Targets` would read a bare word that is not a level as the name of a module.
        let bare_words_are_levels =
            text.split(',')
                .filter(|part| !part.contains('='))
                .all(|part| {
                    part.trim()
                        .parse::<tracing::level_filters::LevelFilter>()
                        .is_ok()
                });
        if !bare_words_are_levels {
            return Err(error);
        }
        Ok(Self {
            targets: format!("{QUIET},{text}").parse().map_err(|_| error)?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
