//! Where a short link leads.

use std::{fmt, str::FromStr};

use url::Url;

use super::Schemes;

/// The longest target, in bytes after normalisation.
pub const MAX_TARGET_LENGTH: usize = 8192;

/// A URL that a link may lead to: absolute, with a scheme that is allowed, at most 8192 bytes, normalised as browsers
/// do (host in lower case and punycode, default port left out). A URL of the web has a host and no credentials.
///
/// Control characters inside it are an error rather than dropped: attackers use them to split the responses of the
/// server behind a link. Percent-encoded they split nothing, and are kept byte for byte, as all percent-encoding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl(Url);

/// Why a text is not an acceptable target.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTarget {
    /// Not a URL, or a relative one.
    #[error("that is not a complete URL, such as https://example.com/")]
    NotAbsolute,
    /// A scheme that is not allowed. Holds the schemes that are.
    #[error("only {0} URLs can be shortened")]
    Scheme(Schemes),
    /// `https://` without a host, or with an impossible one.
    #[error("the URL has no valid host")]
    Host,
    /// `https://user:password@host/`.
    #[error("a URL with a user name or password cannot be shortened")]
    Credentials,
    /// Over 8192 bytes.
    #[error("the URL is longer than {MAX_TARGET_LENGTH} bytes")]
    TooLong,
    /// Line breaks, NUL and the like, other than percent-encoded.
    #[error("the URL contains control characters")]
    ControlCharacter,
}

impl TargetUrl {
    /// Parses a target with one of these schemes. Leaves out white space around it, which comes with copy and paste and
    /// with the end of a file.
    ///
    /// # Errors
    /// [`InvalidTarget`] if the text is not acceptable.
    pub fn parse(text: &str, schemes: &Schemes) -> Result<Self, InvalidTarget> {
        let text = text.trim_matches(is_around);
        if text.len() > MAX_TARGET_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        // The parser would drop tabs and line breaks silently, even in the middle of a host.
        if text.chars().any(char::is_control) {
            return Err(InvalidTarget::ControlCharacter);
        }
        let url = parse(text)?;
        if !schemes.allow(url.scheme()) {
            return Err(InvalidTarget::Scheme(schemes.clone()));
        }
        if url.is_special() {
            // The parser repairs `https:example.com` and `https:/example.com`. That is a guess at what was meant, and
            // too weak for a link that others will follow.
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
        }
        if url.as_str().len() > MAX_TARGET_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        Ok(Self(url))
    }

    /// Whether it is a URL of the web: `http` or `https`.
    pub fn is_http(&self) -> bool {
        matches!(self.0.scheme(), "http" | "https")
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

/// A URL of the web, for the configuration.
impl FromStr for TargetUrl {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, &Schemes::default())
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// White space, and the mark that some editors begin a file with.
fn is_around(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

fn parse(text: &str) -> Result<Url, InvalidTarget> {
    let parse = |text: &str| {
        Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidPort
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address
            | url::ParseError::InvalidDomainCharacter => InvalidTarget::Host,
            _ => InvalidTarget::NotAbsolute,
        })
    };
    let url = parse(text)?;
    // The parser leaves a path like that of `tel:` as it is, spaces included. In a `Location` header that would be no
    // URL.
    if url.cannot_be_a_base() && url.path().contains(' ') {
        return parse(&text.replace(' ', "%20"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Result<TargetUrl, InvalidTarget> {
        TargetUrl::parse(text, &Schemes::default())
    }

    fn any_scheme() -> Schemes {
        let names = ["http", "https", "ftp", "mailto", "tel", "app"];
        let schemes = names.map(|name| name.parse().expect("a scheme"));
        schemes.to_vec().try_into().expect("some")
    }

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
            (
                "\r\n\t https://example.com/\u{85}\n",
                "https://example.com/",
            ),
            (
                "https://example.com/%0d%0a?%00#%0A%C2%85",
                "https://example.com/%0d%0a?%00#%0A%C2%85",
            ),
        ] {
            let url = target(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.as_str(), normalised);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        use InvalidTarget::{ControlCharacter, Credentials, Host, NotAbsolute};
        let scheme = || InvalidTarget::Scheme(Schemes::default());
        for (text, reason) in [
            ("", NotAbsolute),
            ("example.com", NotAbsolute),
            ("/path", NotAbsolute),
            ("//example.com/", NotAbsolute),
            ("https:example.com", NotAbsolute),
            ("https:/example.com", NotAbsolute),
            ("https:\\\\example.com", NotAbsolute),
            ("javascript:alert(1)", scheme()),
            ("ftp://example.com/", scheme()),
            ("data:text/html,x", scheme()),
            ("mailto:a@example.com", scheme()),
            ("http://", Host),
            ("https:///path", Host),
            ("http://exa mple.com/", Host),
            ("http://example.com:99999/", Host),
            ("http://[::1/", Host),
            ("https://user@example.com/", Credentials),
            ("https://user:password@example.com/", Credentials),
            ("https://example.com/\r\nSet-Cookie: a=b", ControlCharacter),
            ("https://example.com/\tx", ControlCharacter),
            ("https://example.com/\0", ControlCharacter),
            ("https://example.com/\u{85}x", ControlCharacter),
            ("https://exa%0Ample.com/", Host),
            ("https://exa%00mple.com/", Host),
        ] {
            assert_eq!(target(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn the_length_counts_after_normalisation() {
        let base = "https://example.com/";
        let fits = format!("{base}{}", "a".repeat(MAX_TARGET_LENGTH - base.len()));
        assert!(target(&fits).is_ok());
        assert_eq!(target(&format!("{fits}a")), Err(InvalidTarget::TooLong));
        // Each `ü` grows from two bytes to six.
        let grows = format!("{base}{}", "ü".repeat(2_000));
        assert_eq!(target(&grows), Err(InvalidTarget::TooLong));
    }

    #[test]
    fn what_is_not_of_the_web_needs_no_host() {
        for (text, normalised) in [
            ("mailto:a@example.com", "mailto:a@example.com"),
            ("tel:+49 30 1", "tel:+49%2030%201"),
            ("app:x ?a b#c d", "app:x%20?a%20b#c%20d"),
            ("app:ü", "app:%C3%BC"),
            ("app://me@there/", "app://me@there/"),
        ] {
            let url = TargetUrl::parse(text, &any_scheme()).expect(text);
            assert_eq!((url.as_str(), url.is_http()), (normalised, false));
        }
        let ftp = TargetUrl::parse("ftp://me@example.com/", &any_scheme());
        assert_eq!(ftp, Err(InvalidTarget::Credentials));
    }

    proptest! {
        /// So every target can stand in a `Location` header, and means the same there.
        #[test]
        fn whatever_is_accepted_is_visible_ascii_and_stays_itself(
            scheme in "(https?|ftp|mailto|tel|app):(//)?",
            rest in any::<String>(),
        ) {
            if let Ok(url) = TargetUrl::parse(&format!("{scheme}{rest}"), &any_scheme()) {
                prop_assert!(url.as_str().bytes().all(|b| b.is_ascii_graphic()), "{url}");
                let again = TargetUrl::parse(url.as_str(), &any_scheme());
                prop_assert_eq!(again, Ok(url));
            }
        }
    }
}
