//! Where a short link leads.

use std::fmt;

use url::Url;

/// The longest target, in bytes after normalisation.
const MAX_LENGTH: usize = 8192;

/// A URL that a link may lead to: absolute, `http` or `https`, with a host and without credentials, at
/// most 8192 bytes, normalised as browsers do (host in lower case and punycode, default port left out).
///
/// Control characters are refused rather than dropped, also in their percent-encoded form (`%00`,
/// `%0A`, `%0D`): they are how response splitting is tried on whatever stands behind a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl(Url);

/// Why a text is not an acceptable target.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTarget {
    /// Not a URL, or a relative one.
    #[error("that is not a complete URL; it begins with https:// or http://")]
    NotAbsolute,
    /// `javascript:`, `ftp:` and all others but `http` and `https`.
    #[error("only http and https URLs can be shortened")]
    Scheme,
    /// `https://` without a host, or with an impossible one.
    #[error("the URL has no valid host")]
    Host,
    /// `https://user:password@host/`.
    #[error("a URL with a user name or password cannot be shortened")]
    Credentials,
    /// Over 8192 bytes.
    #[error("the URL is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// Line breaks, NUL and the like, plain or percent-encoded.
    #[error("the URL contains control characters")]
    ControlCharacter,
}

impl TargetUrl {
    /// Parses a target. Spaces around it are ignored, as they come with copy and paste.
    ///
    /// # Errors
    /// [`InvalidTarget`] if the text is not acceptable.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let text = text.trim_matches(' ');
        if text.len() > MAX_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        if text.chars().any(char::is_control) || has_encoded_control(text) {
            return Err(InvalidTarget::ControlCharacter);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidPort
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address
            | url::ParseError::InvalidDomainCharacter => InvalidTarget::Host,
            _ => InvalidTarget::NotAbsolute,
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidTarget::Scheme);
        }
        // `https:example.com` and `https:/example.com` are repaired by the parser: a guess at what was
        // meant, which is not for a link that others will follow.
        let after_scheme = text.get(url.scheme().len()..).unwrap_or_default();
        if !after_scheme.starts_with("://") {
            return Err(InvalidTarget::NotAbsolute);
        }
        if after_scheme.starts_with(":///") || url.host().is_none() {
            return Err(InvalidTarget::Host);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidTarget::Credentials);
        }
        if url.as_str().len() > MAX_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        Ok(Self(url))
    }

    /// The normalised URL: ASCII only, fit for a `Location` header.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The normalised URL itself.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `%00`, `%0A`, `%0D` in either case.
fn has_encoded_control(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|window| matches!(window, [b'%', b'0', b'0' | b'a' | b'A' | b'd' | b'D']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptable_urls_are_normalised() {
        for (text, normalised) in [
            ("https://example.com", "https://example.com/"),
            (" http://Example.COM:80/a b ", "http://example.com/a%20b"),
            (
                "https://bücher.example/ü?q=ö#ä",
                "https://xn--bcher-kva.example/%C3%BC?q=%C3%B6#%C3%A4",
            ),
            (
                "https://example.com:8443/x?y=%20z",
                "https://example.com:8443/x?y=%20z",
            ),
            ("http://[2001:DB8::1]/", "http://[2001:db8::1]/"),
            ("HTTPS://example.com/", "https://example.com/"),
        ] {
            let url = TargetUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.as_str(), normalised);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        use InvalidTarget::{ControlCharacter, Credentials, Host, NotAbsolute, Scheme};
        for (text, reason) in [
            ("", NotAbsolute),
            ("example.com", NotAbsolute),
            ("/path", NotAbsolute),
            ("//example.com/", NotAbsolute),
            ("https:example.com", NotAbsolute),
            ("https:/example.com", NotAbsolute),
            ("https:\\\\example.com", NotAbsolute),
            ("javascript:alert(1)", Scheme),
            ("ftp://example.com/", Scheme),
            ("data:text/html,x", Scheme),
            ("mailto:a@example.com", Scheme),
            ("http://", Host),
            ("https:///path", Host),
            ("http://exa mple.com/", Host),
            ("http://example.com:99999/", Host),
            ("http://[::1/", Host),
            ("https://user@example.com/", Credentials),
            ("https://user:password@example.com/", Credentials),
            ("https://example.com/\r\nSet-Cookie: a=b", ControlCharacter),
            ("https://example.com/\t", ControlCharacter),
            ("https://example.com/\0", ControlCharacter),
            ("https://example.com/\u{85}", ControlCharacter),
            ("https://example.com/%0d%0aSet-Cookie:a", ControlCharacter),
            ("https://example.com/?q=%00", ControlCharacter),
        ] {
            assert_eq!(TargetUrl::parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn the_length_counts_after_normalisation() {
        let base = "https://example.com/";
        let fits = format!("{base}{}", "a".repeat(MAX_LENGTH - base.len()));
        assert!(TargetUrl::parse(&fits).is_ok());
        assert_eq!(
            TargetUrl::parse(&format!("{fits}a")),
            Err(InvalidTarget::TooLong)
        );
        // Each of these two bytes becomes six.
        let grows = format!("{base}{}", "ü".repeat(2_000));
        assert_eq!(TargetUrl::parse(&grows), Err(InvalidTarget::TooLong));
    }
}
