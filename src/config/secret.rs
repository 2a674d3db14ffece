//! URLs that may hold a password.

use std::fmt;

use url::Url;

/// Rejects a URL if it is not certain where its password ends. A parser could take a part of the password for the host
/// or the database. That part would then appear in errors, in the log and in DNS queries.
pub(super) fn check_credentials(url: &str) -> Result<(), &'static str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password stands in the authority. Without an authority, an `@` is part of something else.
    if authority.is_empty() || rest.matches('@').count() == authority.matches('@').count().min(1) {
        return Ok(());
    }
    Err(
        "user and password stand before the first host, once, and in them these have to be percent-encoded: \
         @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25",
    )
}

/// The names of the URL's parameters that are not known, without their values, which may be secrets.
pub(super) fn unknown_parameters(url: &str, is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let names = pairs.map(|(name, _)| name.into_owned());
    names.filter(|name| !is_known(name)).collect()
}

/// A URL whose password never appears in `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretUrl(String);

impl SecretUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// The URL with its password. Never show it.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// The URL with `***` for the password, in its authority and in its parameters.
    fn redacted(&self) -> String {
        let Self(text) = self;
        let Some((scheme, rest)) = text.split_once("://") else {
            return text.clone();
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let rest = match rest.rsplit_once('@') {
            Some((credentials, host)) => match credentials.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}"),
                // With Redis, a user without a password is often meant as the password.
                None if scheme.starts_with("redis") => format!("***@{host}"),
                None => format!("{credentials}@{host}"),
            },
            None => rest.to_owned(),
        };
        let query = query.map_or_else(String::new, redact_parameters);
        format!("{scheme}://{rest}{query}")
    }
}

/// `?user=a&password=***`.
fn redact_parameters(query: &str) -> String {
    let Ok(mut url) = Url::parse(&format!("x://x/?{query}")) else {
        return "?***".to_owned();
    };
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(pairs.iter().map(|(name, value)| {
            // `sslkey` may be the key itself.
            let secret = name.contains("pass") || matches!(name.as_str(), "sslkey" | "ssl-key");
            (name.as_str(), if secret { "***" } else { value.as_str() })
        }));
    format!("?{}", url.query().unwrap_or_default())
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{SecretUrl, check_credentials, unknown_parameters};

    #[test]
    fn it_is_certain_where_a_password_ends() {
        for certain in [
            "postgres://me:p%40ss%2Fw0rd@db/shunt",
            "postgres://me:pass:word@[::1]:5432/shunt?sslmode=require",
            "postgres://db/shunt",
            "postgres:///shunt?host=/run/postgresql&user=me&password=p@ss",
            "redis://localhost",
            "redis+unix:///run/r@dis.sock?pass=p@ss",
            "redis+sentinel://:secret@a:26379,b:26379/mymaster/1",
        ] {
            assert_eq!(check_credentials(certain), Ok(()), "{certain}");
        }
        for password in [
            "p@ss/w0rd",
            "p@ss",
            "pa/ss",
            "p?ss",
            "p#ss",
            "/",
            "@",
            "1/2@3:4",
        ] {
            for url in [
                format!("postgres://me:{password}@db/shunt"),
                format!("redis://:{password}@cache:6379/1"),
                format!("rediss://me:{password}@cache"),
                format!("redis+cluster://me:{password}@a:7000,b:7001"),
                format!("redis+sentinel://me:{password}@a:26379,b:26379/mymaster"),
                format!("redis+cluster://me:{password}@a:7000,me:{password}@b:7001"),
            ] {
                assert!(check_credentials(&url).is_err(), "{url}");
            }
        }
    }

    #[test]
    fn parameters_that_mean_nothing_are_named_without_their_values() {
        let url = "postgres://db/shunt?sslmode=require&connect%5ftimeout=10&a=secret#b?c=d";
        let unknown = unknown_parameters(url, |name| name == "sslmode");
        assert_eq!(unknown, ["connect_timeout", "a"]);
        assert!(unknown_parameters("postgres://db/shunt", |_| false).is_empty());
    }

    #[test]
    fn passwords_are_left_out_wherever_they_stand() {
        for (url, shown) in [
            (
                "postgres://me:secret@db:5432/shunt",
                "postgres://me:***@db:5432/shunt",
            ),
            (
                "postgres://me:se@cret@db/shunt",
                "postgres://me:***@db/shunt",
            ),
            (
                "postgres://db/shunt?user=me&password=secret",
                "postgres://db/shunt?user=me&password=***",
            ),
            ("redis://:secret@redis:6379", "redis://:***@redis:6379"),
            (
                "redis+cluster://u:secret@a:1,b:2",
                "redis+cluster://u:***@a:1,b:2",
            ),
            ("sqlite://shunt.db", "sqlite://shunt.db"),
            ("redis://localhost", "redis://localhost"),
            ("redis://secret@redis", "redis://***@redis"),
            ("postgres://me@db/shunt", "postgres://me@db/shunt"),
        ] {
            let url = SecretUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
