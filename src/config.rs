//! The configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! One file per section, each key's meaning and default in its doc comment. Every value is parsed
//! here, once, into a type that only exists in a valid state; an unknown key, an impossible value or a bad
//! URL is a [`ConfigError`] that names the key.

mod cache;
mod database;
mod http;
mod limiter;
mod links;
mod log;
mod management;
mod near_miss;
mod redis;
mod secret;
mod value;

use std::{collections::BTreeMap, fmt, path::Path};

use ::config::{Environment, File, FileFormat};
use serde::{Deserialize, Serialize};

pub use self::{
    cache::CacheConfig,
    database::{Database, DatabaseConfig, DatabaseKind},
    http::HttpConfig,
    limiter::{LimiterConfig, LimiterRedisConfig, PolicyConfig},
    links::LinksConfig,
    log::{LogConfig, LogFormat, LogLevel},
    management::ManagementConfig,
    redis::{Redis, RedisConfig},
};

/// Prefix of every variable: `http.bind` is `SHUNT__HTTP__BIND`.
const PREFIX: &str = "SHUNT__";

/// The conventional short forms, and the variables that they stand for.
const SHORT_FORMS: [(&str, &str); 2] = [
    ("DATABASE_URL", "SHUNT__DATABASE__URL"),
    ("REDIS_URL", "SHUNT__REDIS__URL"),
];

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
    /// Where the window logs are kept.
    pub redis: RedisConfig,
    /// How many requests a client may make.
    pub limiter: LimiterConfig,
    /// The links themselves.
    pub links: LinksConfig,
    /// What a node remembers of links.
    pub cache: CacheConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// It.
    pub config: Config,
    /// What was given and has no effect: a line each, which names the variable or key.
    pub warnings: Vec<String>,
}

/// A configuration that cannot be used. Prints as one line that names the key.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `http.bind`, or the name of a file or variable.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ConfigError {
    fn new(key: impl Into<String>, problem: impl fmt::Display) -> Self {
        // Parsers like to draw pictures over several lines.
        let problem = problem.to_string();
        let lines: Vec<_> = problem.split_whitespace().collect();
        let mut problem = lines.join(" ");
        // The `config` crate adds the key, which stands in front already.
        if let Some(end) = problem.find(" for key `") {
            problem.truncate(end);
        }
        Self {
            key: key.into(),
            problem,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Loads the configuration.
    ///
    /// Variables that others may have set, such as the `SHUNT_PORT` of a Kubernetes service called `shunt`, are left
    /// alone.
    ///
    /// `environment` is the process's; `flags` are `(key, value)` with keys like `http.bind`. The file is
    /// `file`, else the one that `SHUNT_CONFIG` names, else none.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigError> {
        let (mut environment, mut warnings) = relevant(environment)?;
        let named_file = environment.remove("SHUNT_CONFIG");
        let file = file.or(named_file.as_deref().map(Path::new));

        let mut builder = ::config::Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::new(path.display().to_string(), error))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
            // Read on its own first, so that the message can say which file it is about.
            toml::from_str::<toml::Table>(&text)
                .map_err(|error| ConfigError::new(path.display().to_string(), error.message()))?;
        }
        builder = builder.add_source(
            Environment::with_prefix("SHUNT")
                .prefix_separator("__")
                .separator("__")
                .source(Some(environment.into_iter().collect())),
        );
        for (key, value) in flags {
            builder = builder
                .set_override(key, value.as_str())
                .map_err(|error| ConfigError::new(key, error))?;
        }
        let raw = builder
            .build()
            .map_err(|error| ConfigError::new("configuration", error))?;
        let config = parse(raw)?;
        warnings.extend(config.ignored_parameters());
        Ok(Loaded { config, warnings })
    }

    /// Whether a variable of this name sets something.
    pub fn reads(variable: &str) -> bool {
        let bare = variable.strip_suffix("_FILE").unwrap_or(variable);
        variable.starts_with(PREFIX)
            || variable == "SHUNT_CONFIG"
            || SHORT_FORMS.iter().any(|(short, _)| *short == bare)
    }

    fn ignored_parameters(&self) -> Vec<String> {
        let database = self.database.url.ignored_parameters();
        let redis = self.redis.url.as_ref().map(Redis::ignored_parameters);
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

    /// The whole configuration as TOML, with secrets left out.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::new("configuration", error))
    }
}

fn parse(raw: ::config::Config) -> Result<Config, ConfigError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(raw, &mut track);
    let parsed = serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()));
    let config: Config = parsed.map_err(|error: ::config::ConfigError| {
        let key = track.path().to_string();
        let problem = match error {
            ::config::ConfigError::Message(message) => message,
            ::config::ConfigError::Type {
                unexpected,
                expected,
                ..
            } => format!("expected {expected}, found {unexpected}"),
            other => other.to_string(),
        };
        ConfigError::new(key, problem)
    })?;
    match unknown.first() {
        Some(key) => Err(ConfigError::new(key, "there is no such key")),
        None => Ok(config),
    }
}

/// The variables that concern Shunt, short forms spelled out and `*_FILE` variants read; and warnings of those that are
/// nearly one of them.
fn relevant(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(BTreeMap<String, String>, Vec<String>), ConfigError> {
    let mut given = BTreeMap::new();
    let mut warnings = Vec::new();
    for (name, value) in environment {
        if Config::reads(&name) {
            given.insert(name, value);
        } else if let Some(meant) = near_miss::variable(&name) {
            warnings.push(format!("{name}: has no effect; did you mean {meant}?"));
        }
    }

    let mut variables = BTreeMap::new();
    for (name, value) in &given {
        if let Some(target) = name.strip_suffix("_FILE") {
            if given.contains_key(target) {
                let problem = format!("{target} is set as well; which one holds?");
                return Err(ConfigError::new(name, problem));
            }
            if value.contains("://") {
                let problem = "expected the path of a file, found a URL";
                return Err(ConfigError::new(name, problem));
            }
            let secret = std::fs::read_to_string(value)
                .map_err(|error| ConfigError::new(name, format!("{value}: {error}")))?;
            variables.insert(target.to_owned(), secret.trim_end().to_owned());
        } else {
            variables.insert(name.clone(), value.clone());
        }
    }
    for (short, full) in SHORT_FORMS {
        // An empty one is one that somebody wanted to unset.
        if let Some(value) = variables.remove(short).filter(|value| !value.is_empty()) {
            variables.entry(full.to_owned()).or_insert(value);
        }
    }
    Ok((variables, warnings))
}

#[cfg(test)]
mod tests;
