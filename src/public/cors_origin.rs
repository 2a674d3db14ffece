//! The sites whose pages may use the service.

use std::{fmt, str::FromStr};

use url::Url;

/// A site whose pages may shorten links and read the answers: `https://app.example`, or `*` for every site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Every site.
    Any,
    /// As browsers write it: lower case, without a default port.
    One(String),
}

/// The text is not an origin.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "that is no origin; write it as https://app.example or https://app.example:8443, or * for every page"
)]
pub struct InvalidOrigin;

impl FromStr for CorsOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let url = Url::parse(text).map_err(|_| InvalidOrigin)?;
        // `https://*.app.example` would match no page.
        let plain = !text.contains('*')
            && matches!(url.path(), "" | "/")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(InvalidOrigin);
        }
        // The parser knows no rules for an extension's origin (`moz-extension://…`), so that stays as it is written.
        Ok(Self::One(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::One(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, written) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443/", "https://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[2001:DB8::1]:80", "http://[2001:db8::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("moz-extension://0a-1b", "moz-extension://0a-1b"),
            ("chrome-extension://abcdef/", "chrome-extension://abcdef"),
            ("*", "*"),
        ] {
            let origin: CorsOrigin = text.parse().expect(text);
            assert_eq!(origin.to_string(), written);
        }
        for text in [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/path",
            "https://app.example?",
            "https://app.example#x",
            "https://me@app.example",
            "https://*.app.example/",
            "file:///",
            "mailto:a@example.com",
        ] {
            assert_eq!(text.parse::<CorsOrigin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
