//! `postgres://user:password@host:port/database`

use std::{fmt, net::IpAddr, str::FromStr};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// A parsed `postgres://` URL; `Debug` does not show the password.
#[derive(Clone)]
pub struct PostgresUrl(PgConnectOptions);

impl PostgresUrl {
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        self.0.clone()
    }
}

impl FromStr for PostgresUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "not a Postgres URL: expected postgres://user:password@host:5432/database";
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(error)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let parameters = || url::form_urlencoded::parse(query.as_bytes());
        let several = |name: &str, value: &str| name.starts_with("host") && value.contains(',');
        // The parser takes `a,b` for the name of one host.
        if hosts.contains(',') || parameters().any(|(name, value)| several(&name, &value)) {
            return Err(
                "it names several hosts, and Shunt takes one: that of a proxy or an address that follows \
                 the primary, such as those of PgBouncer, HAProxy or keepalived",
            );
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| {
            let wrong = |names: &[&str], fits: fn(&str) -> bool| {
                parameters().any(|(name, value)| names.contains(&&*name) && !fits(&value))
            };
            if wrong(&["sslmode", "ssl-mode"], |mode| {
                PgSslMode::from_str(mode).is_ok()
            }) {
                "sslmode is one of disable, allow, prefer, require, verify-ca and verify-full"
            } else if wrong(&["hostaddr"], |address| address.parse::<IpAddr>().is_ok()) {
                "hostaddr is an IP address"
            } else if wrong(&["port"], |port| port.parse::<u16>().is_ok()) {
                "port is a number"
            } else {
                error
            }
        })?;
        Ok(Self(options.application_name("shunt")))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host, port and database, without credentials.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(options) = self;
        let database = options.get_database().unwrap_or(options.get_username());
        write!(
            f,
            "postgres at {}:{}/{database}",
            options.get_host(),
            options.get_port()
        )
    }
}
