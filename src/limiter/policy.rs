//! A quota with a name.

use std::{fmt, str::FromStr, sync::Arc};

use super::Quota;

/// The name of a policy: `default`, or `[a-z][a-z0-9_-]*` of 5 to 32 characters.
///
/// The name stands in headers, metrics and Redis keys. Five characters at least, because an IPv6
/// group has up to four: a policy named `fade` would share `rate_limit:fade:…` with the clients of
/// the default policy whose network begins with `fade:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyName(Arc<str>);

/// The text is not a policy name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a policy name: 5 to 32 of a-z, 0-9, `_`, `-`, beginning with a letter")]
pub struct InvalidPolicyName(String);

impl PolicyName {
    /// The policy that `limiter.quota` sets.
    pub fn default_policy() -> Self {
        Self("default".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the policy that `limiter.quota` sets.
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }
}

impl FromStr for PolicyName {
    type Err = InvalidPolicyName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (5..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPolicyName(text.to_owned()))
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A named quota. Every policy keeps a window log of its own per client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called in headers, metrics and keys.
    pub name: PolicyName,
    /// What it admits.
    pub quota: Quota,
}

impl Policy {
    /// The policy named `default`.
    pub fn default_policy(quota: Quota) -> Self {
        Self {
            name: PolicyName::default_policy(),
            quota,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_an_ipv6_group_could_spell_is_refused() {
        for name in [
            "fade",
            "a",
            "",
            "2001f",
            "Shorten",
            "has space",
            "a:bcde",
            &"x".repeat(33),
        ] {
            assert!(name.parse::<PolicyName>().is_err(), "{name:?}");
        }
        for name in ["burst", "shorten", "per-day", "tier_2"] {
            assert!(name.parse::<PolicyName>().is_ok(), "{name:?}");
        }
    }
}
