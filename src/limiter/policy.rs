//! A quota with a name, and the Redis key that follows from it.

use std::{fmt, str::FromStr, sync::Arc};

use super::{ClientId, Quota};

/// Prefix of every key that the limiter owns in Redis.
const KEY_PREFIX: &str = "rate_limit";

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

    /// The Redis key of a client's window log: `rate_limit:<client>` for the default policy,
    /// `rate_limit:<policy>:<client>` for any other.
    pub fn redis_key(&self, client: ClientId) -> String {
        if self.name.is_default() {
            format!("{KEY_PREFIX}:{client}")
        } else {
            format!("{KEY_PREFIX}:{}:{client}", self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_the_client_and_any_policy_but_the_default() {
        let quota: Quota = "1/s".parse().expect("a quota");
        let v4 = ClientId::new("192.0.2.1".parse().expect("an address"), 64);
        let v6 = ClientId::new("2001:db8::1".parse().expect("an address"), 64);
        let default = Policy::default_policy(quota);
        let other = Policy {
            name: "shorten".parse().expect("a name"),
            quota,
        };
        assert_eq!(default.redis_key(v4), "rate_limit:192.0.2.1");
        assert_eq!(default.redis_key(v6), "rate_limit:2001:db8::/64");
        assert_eq!(other.redis_key(v4), "rate_limit:shorten:192.0.2.1");
    }

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
