//! A quota with a name.

use std::{fmt, str::FromStr, sync::Arc};

use super::Quota;

/// The policies that there always are.
const DEFAULT: &str = "default";
const PER_KEY: &str = "per-key";
const KEY_ATTEMPTS: &str = "key-attempts";
const LINK_PASSWORD: &str = "link-password";

/// The name of a policy: `default`, or `[a-z][a-z0-9_-]*` of 5 to 32 characters.
///
/// A group of an IPv6 address has up to four characters. With five at least, no name can be mistaken for the beginning
/// of a client, wherever both are written one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyName(Arc<str>);

/// The text is no policy name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a policy name: 5 to 32 of a-z, 0-9, `_`, `-`, beginning with a letter")]
pub struct InvalidPolicyName(String);

impl PolicyName {
    /// The fewest characters of a name.
    pub(super) const MIN_LENGTH: usize = 5;

    /// The most characters of a name.
    const MAX_LENGTH: usize = 32;

    /// The policy that `limiter.quota` sets.
    pub fn default_policy() -> Self {
        Self(DEFAULT.into())
    }

    /// The policy of every request with a verified key.
    pub fn per_key() -> Self {
        Self(PER_KEY.into())
    }

    /// The policy of every attempt to use a key that is not known yet.
    pub fn key_attempts() -> Self {
        Self(KEY_ATTEMPTS.into())
    }

    /// The policy of every attempt to give the password of a link.
    pub fn link_password() -> Self {
        Self(LINK_PASSWORD.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the policy that `limiter.quota` sets.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }

    /// Whether the policy bounds how often something secret is guessed. Then it holds in every outage: without it, a
    /// short password is found in hours.
    pub(super) fn bounds_guesses(&self) -> bool {
        &*self.0 == LINK_PASSWORD
    }

    /// Whether the name is taken by a policy that there always is.
    pub fn is_built_in(&self) -> bool {
        [DEFAULT, PER_KEY, KEY_ATTEMPTS, LINK_PASSWORD].contains(&&*self.0)
    }
}

impl FromStr for PolicyName {
    type Err = InvalidPolicyName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&text.len())
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

/// A named quota. Each client has a window log of its own under each policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called in headers and metrics.
    pub name: PolicyName,
    /// How many requests it admits.
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
            let name: PolicyName = name.parse().unwrap_or_else(|e| panic!("{e}"));
            assert!(!name.is_built_in(), "{name}");
        }
    }

    #[test]
    fn the_names_of_built_in_policies_are_names() {
        for name in [
            PolicyName::default_policy(),
            PolicyName::per_key(),
            PolicyName::key_attempts(),
            PolicyName::link_password(),
        ] {
            assert!(name.is_built_in(), "{name}");
            assert_eq!(name.as_str().parse(), Ok(name));
        }
    }
}
