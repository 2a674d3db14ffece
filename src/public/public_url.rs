//! What short links begin with.

use std::{fmt, str::FromStr};

use url::Url;

/// What short links begin with: `http` or `https`, a host, maybe a path; no trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The link for a code.
    pub fn link(&self, code: &str) -> String {
        format!("{self}/{code}")
    }

    /// The URL itself.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "not a URL like https://sho.rt")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("expected http://host or https://host");
        }
        let plain = url.query().is_none() && url.fragment().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            return Err("no query, fragment or credentials can stand in it");
        }
        Ok(Self(url))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}
