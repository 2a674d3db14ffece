//! The configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! Each section has a file of its own, and each key's meaning and default stand in its doc comment. Every value is
//! parsed here, once, into a type that only exists in a valid state. An unknown key, an impossible value or a bad URL
//! is a [`ConfigError`] that names the key.

mod address;
mod cache;
mod database;
mod http;
mod layers;
mod limiter;
mod links;
mod log;
mod management;
mod near_miss;
mod redis;
mod secret;
mod setting;
mod value;

use std::{
    fmt::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use self::setting::{Problem, Setting};

pub use self::{
    address::ListenAddress,
    cache::CacheConfig,
    database::{DatabaseConfig, DatabaseKind, DatabaseUrl},
    http::HttpConfig,
    limiter::{LimiterConfig, LimiterRedisConfig, PolicyConfig},
    links::LinksConfig,
    log::{LogConfig, LogFormat, LogLevel},
    management::ManagementConfig,
    redis::{RedisConfig, RedisUrl},
};

/// Prefix of every variable: `http.bind` is `SHUNT__HTTP__BIND`.
const PREFIX: &str = "SHUNT__";

/// Everything that can be configured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// The public listener.
    pub http: HttpConfig,
    /// The listener for probes and metrics.
    pub management: ManagementConfig,
    /// Where links are kept.
    pub database: DatabaseConfig,
    /// Where requests are counted.
    pub redis: RedisConfig,
    /// How many requests a client may make.
    pub limiter: LimiterConfig,
    /// The links themselves.
    pub links: LinksConfig,
    /// What a node remembers of links.
    pub cache: CacheConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was set but has no effect: one line for each, which names the variable or the key.
    pub warnings: Vec<String>,
}

/// A configuration that cannot be used. Prints as one line that names the key.
///
/// Invariant: no part of a value appears in it. Any key may have got a URL with a password by mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `http.bind`, or the name of a file or variable.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ConfigError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

/// One line, whatever a key or a value contains: control characters are escaped.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in format!("{}: {}", self.key, self.problem).chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Loads the configuration.
    ///
    /// `file` is the TOML file. Without one, the variable `SHUNT_CONFIG` names the file; without that, there is none.
    /// `environment` is that of the process. `flags` are `(key, value)` with keys like `http.bind`.
    ///
    /// Variables of other programs, such as the `SHUNT_PORT` of a Kubernetes service called `shunt`, are ignored.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigError> {
        let (keys, mut warnings) = layers::merge(file, environment, flags)?;
        let config = Self::parse(keys)?;
        warnings.extend(config.ignored_parameters());
        Ok(Loaded { config, warnings })
    }

    /// Whether Shunt reads a variable of this name.
    pub fn reads(variable: &str) -> bool {
        layers::reads(variable)
    }

    /// The whole configuration as TOML, with secrets left out.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::new("configuration", error.to_string()))
    }

    fn parse(keys: toml::Table) -> Result<Self, ConfigError> {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(Setting(keys.into()), &mut track);
        let parsed = serde_ignored::deserialize(deserializer, |key| unknown.push(key.to_string()));
        let config = parsed.map_err(|problem: Problem| {
            ConfigError::new(track.path().to_string(), problem.to_string())
        })?;
        match unknown.into_iter().next() {
            Some(key) => Err(ConfigError::new(key, "there is no such key")),
            None => Ok(config),
        }
    }

    /// A warning for each parameter of a URL that has no effect.
    fn ignored_parameters(&self) -> Vec<String> {
        let database = self.database.url.ignored_parameters();
        let redis = self.redis.url.as_ref().map(RedisUrl::ignored_parameters);
        let of = |key: &'static str, names: Vec<String>| {
            let warning =
                move |name| format!("{key}: the parameter `{name}` is not known and has no effect");
            names.into_iter().map(warning)
        };
        let database = of("database.url", database);
        database
            .chain(of("redis.url", redis.unwrap_or_default()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
