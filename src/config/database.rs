//! `[database]`: where links are kept.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    secret::{SecretUrl, check_credentials, unknown_parameters},
    value::{MINUTE, duration, number, print_duration, text},
};
use crate::db::{PostgresUrl, SqliteUrl};

/// Where links are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct DatabaseConfig {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host:5432/database`. Also `DATABASE_URL`.
    /// Default `sqlite://shunt.db`.
    #[serde(with = "text")]
    pub url: DatabaseUrl,
    /// The most connections of a node, 1 to 1000. Default 16.
    #[serde(deserialize_with = "number::<1, 1000, _, _>")]
    pub max_connections: u32,
    /// How long a request waits for a connection and an answer; 10 ms to 1 minute. Default `2s`.
    #[serde(
        deserialize_with = "duration::<10, MINUTE, _>",
        serialize_with = "print_duration"
    )]
    pub timeout: Duration,
    /// How long the database may take to come up when the node starts; 100 ms to 10 minutes. Default `15s`.
    #[serde(
        deserialize_with = "duration::<100, { 10 * MINUTE }, _>",
        serialize_with = "print_duration"
    )]
    pub startup_timeout: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a constant, covered by a test")]
        let url = "sqlite://shunt.db".parse().expect("the default URL parses");
        Self {
            url,
            max_connections: 16,
            timeout: Duration::from_secs(2),
            startup_timeout: Duration::from_secs(15),
        }
    }
}

/// A database URL.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    shown: SecretUrl,
    /// The kind of database that the URL names.
    pub kind: DatabaseKind,
}

/// The kind of database that a URL names.
#[derive(Clone, Debug)]
pub enum DatabaseKind {
    /// An SQLite file.
    Sqlite(SqliteUrl),
    /// A Postgres server.
    Postgres(PostgresUrl),
}

/// The parameters of libpq that sqlx knows, besides `options[…]`.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl DatabaseUrl {
    /// The parameters of the URL that have no effect.
    pub(super) fn ignored_parameters(&self) -> Vec<String> {
        match self.kind {
            DatabaseKind::Sqlite(_) => Vec::new(),
            DatabaseKind::Postgres(_) => unknown_parameters(self.shown.secret(), |name| {
                PARAMETERS.contains(&name) || name.starts_with("options[")
            }),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = if text.starts_with("sqlite:") {
            DatabaseKind::Sqlite(text.parse()?)
        } else if text.starts_with("postgres") {
            check_credentials(text)?;
            DatabaseKind::Postgres(text.parse()?)
        } else {
            return Err(
                "expected sqlite://path/to/file.db or postgres://user:password@host/database",
            );
        };
        Ok(Self {
            shown: SecretUrl::new(text),
            kind,
        })
    }
}

/// The URL without its password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}
