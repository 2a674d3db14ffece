//! Which schemes the URLs that are shortened may have.

use std::{fmt, str::FromStr};

/// A browser runs these in the page that it shows, or opens them from its own machine. Such a link would attack every
/// visitor, so no configuration allows it.
const NEVER: [&str; 8] = [
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "javascript",
    "vbscript",
    "view-source",
];

/// The scheme of a URL, in lower case: `https`, `mailto`, `web+app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme(String);

/// Why a text is no scheme that could be allowed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidScheme {
    /// Something other than a letter and then letters, digits, `+`, `-` and `.`.
    #[error("a scheme is what stands in front of the colon, such as https or mailto")]
    Malformed,
    /// A browser runs such URLs, or opens them from its own machine.
    #[error("links with this scheme are never allowed: they attack their visitors")]
    Dangerous,
}

/// The list of schemes is empty, and would reject every URL.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("at least one scheme is needed")]
pub struct NoSchemes;

/// The schemes that may be shortened: at least one. Prints as `http, https and mailto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemes(Vec<Scheme>);

impl Schemes {
    /// Whether a URL with this scheme, in lower case, may be shortened.
    pub fn allow(&self, scheme: &str) -> bool {
        self.0.iter().any(|Scheme(allowed)| allowed == scheme)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Scheme] {
        &self.0
    }
}

impl Default for Schemes {
    /// `http` and `https`.
    fn default() -> Self {
        Self(["http", "https"].map(|name| Scheme(name.to_owned())).into())
    }
}

impl TryFrom<Vec<Scheme>> for Schemes {
    type Error = NoSchemes;

    fn try_from(schemes: Vec<Scheme>) -> Result<Self, NoSchemes> {
        if schemes.is_empty() {
            return Err(NoSchemes);
        }
        Ok(Self(schemes))
    }
}

impl fmt::Display for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scheme) in self.0.iter().enumerate() {
            match index {
                0 => {}
                _ if index + 1 == self.0.len() => f.write_str(" and ")?,
                _ => f.write_str(", ")?,
            }
            scheme.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Scheme {
    type Err = InvalidScheme;

    fn from_str(text: &str) -> Result<Self, InvalidScheme> {
        // RFC 3986, 3.1
        let inside = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.chars().all(inside) {
            return Err(InvalidScheme::Malformed);
        }
        let scheme = text.to_ascii_lowercase();
        if NEVER.contains(&&*scheme) {
            return Err(InvalidScheme::Dangerous);
        }
        Ok(Self(scheme))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_a_name_that_harms_nobody() {
        for (text, scheme) in [
            ("https", "https"),
            ("MailTo", "mailto"),
            ("web+app-1.x", "web+app-1.x"),
        ] {
            let parsed: Scheme = text.parse().expect(text);
            assert_eq!(parsed.to_string(), scheme);
        }
        for text in ["", "mailto:", "1a", "+a", "a b", "a/b", "ü", "*", " tel"] {
            assert_eq!(text.parse::<Scheme>(), Err(InvalidScheme::Malformed));
        }
        for text in ["javascript", "JavaScript", "DATA", "file", "vbscript"] {
            assert_eq!(text.parse::<Scheme>(), Err(InvalidScheme::Dangerous));
        }
    }

    #[test]
    fn a_list_of_schemes_reads_as_one_would_say_it() {
        for (names, said) in [
            (&["tel"][..], "tel"),
            (&["http", "https"], "http and https"),
            (&["http", "https", "mailto"], "http, https and mailto"),
        ] {
            let schemes: Vec<Scheme> = names.iter().map(|n| n.parse().expect("one")).collect();
            assert_eq!(Schemes::try_from(schemes).expect("some").to_string(), said);
        }
        assert_eq!(Schemes::try_from(Vec::new()), Err(NoSchemes));
    }
}
