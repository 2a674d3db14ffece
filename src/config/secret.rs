//! URLs that may hold a password.

use std::fmt;

use serde::{Serialize, Serializer};
use url::Url;

/// A URL whose password never leaves by `Debug`, `Display` or `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretUrl(String);

impl SecretUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
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
            let secret = name.contains("password") || name.contains("pass");
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

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::SecretUrl;

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
        ] {
            let url = SecretUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
