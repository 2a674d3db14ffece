//! Every key that Shunt has in Redis. No other file knows one.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `rate_limit:<client>` | sorted set | the client's window log under the policy `default` |
//! | `rate_limit:<policy>:<client>` | sorted set | its window log under another policy |
//! | `rate_limit:clock` | string | the [mark](super::timeline::Mark) |
//! | `rate_limit:nodes` | hash | the [beats](super::nodes) of the nodes |
//! | `rate_limit:probe:<number>` | sorted set | nothing of worth, for a second: with it, a node tries whether Redis takes writes |
//!
//! Invariant: no two of these are ever the same key. A client is an address, which has a `.` or two `:`, or `key:` or
//! `link:` and a number; a number alone has none of these. The first group of an IPv6 address, and the words `key` and
//! `link`, are shorter than the name of a policy: a policy `fade` would share `rate_limit:fade:…` with the clients under `default` whose network
//! begins with `fade:`.

use std::{fmt, str::FromStr, sync::Arc};

use crate::limiter::{ClientId, Policy, PolicyName};

/// The most characters of a group of an IPv6 address.
const IPV6_GROUP: usize = 4;
const _: () = assert!(PolicyName::MIN_LENGTH > IPV6_GROUP);

/// The most characters of a prefix.
const MAX_LENGTH: usize = 64;

/// What every key begins with: `rate_limit:`, or another text if several services use one Redis.
///
/// 1 to 64 printable ASCII characters, except quotes, which have to be escaped on a command line, `*?[]\`, which mean
/// something in an ACL, and `{}`, which would put all clients on one server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(Arc<str>);

/// The text is no [`KeyPrefix`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not a prefix of keys: 1 to {MAX_LENGTH} printable ASCII characters, without any of \" ' * ? [ ] \\ {{ }}"
)]
pub struct InvalidKeyPrefix;

impl KeyPrefix {
    /// The key of a client's window log.
    pub fn log(&self, policy: &Policy, client: ClientId) -> String {
        let prefix = &self.0;
        if policy.name.is_default() {
            format!("{prefix}{client}")
        } else {
            format!("{prefix}{}:{client}", policy.name)
        }
    }

    /// The key of the mark, which tells all nodes which timeline the logs are on.
    pub(super) fn clock(&self) -> String {
        format!("{self}clock")
    }

    /// The key of the hash in which the nodes beat.
    pub(super) fn nodes(&self) -> String {
        format!("{self}nodes")
    }

    /// A key that holds no log, to try out Redis with.
    pub(super) fn probe(&self, number: u32) -> String {
        format!("{self}probe:{number}")
    }
}

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("rate_limit:".into())
    }
}

impl FromStr for KeyPrefix {
    type Err = InvalidKeyPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !br#""'*?[]\{}"#.contains(&byte);
        if (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidKeyPrefix)
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientId {
        ClientId::new(address.parse().expect("an address"), 64)
    }

    #[test]
    fn keys_name_the_client_and_any_policy_but_the_default() {
        let quota = "1/s".parse().expect("a quota");
        let default = Policy::default_policy(quota);
        let other = Policy {
            name: "shorten".parse().expect("a name"),
            quota,
        };
        let (v4, v6) = (client("192.0.2.1"), client("2001:db8::1"));
        let keys = KeyPrefix::default();
        assert_eq!(keys.log(&default, v4), "rate_limit:192.0.2.1");
        assert_eq!(keys.log(&default, v6), "rate_limit:2001:db8::/64");
        assert_eq!(keys.log(&other, v4), "rate_limit:shorten:192.0.2.1");
        let key = ClientId::key(7);
        assert_eq!(keys.log(&default, key), "rate_limit:key:7");
        assert_eq!(keys.log(&other, key), "rate_limit:shorten:key:7");
        for word in ["key", "link"] {
            assert!(word.parse::<PolicyName>().is_err(), "{word}");
        }
        let keys: KeyPrefix = "two/".parse().expect("a prefix");
        assert_eq!(keys.log(&default, v4), "two/192.0.2.1");
        assert_eq!(keys.log(&other, v6), "two/shorten:2001:db8::/64");
        assert_eq!(keys.clock(), "two/clock");
        assert_eq!(keys.nodes(), "two/nodes");
        assert_eq!(keys.probe(7), "two/probe:7");
    }

    #[test]
    fn what_would_mean_something_else_somewhere_is_no_prefix() {
        for text in [
            "",
            " ",
            "a b",
            "a\tb",
            "ä:",
            "rate_limit:*",
            "{rate}:",
            "a?",
            "[a]",
            "a\\",
            "\"a\"",
            "it's",
            &"x".repeat(65),
        ] {
            assert!(text.parse::<KeyPrefix>().is_err(), "{text:?}");
        }
        for text in [
            "a",
            "rate_limit:",
            "shunt-2/",
            "team.shunt#",
            &"x".repeat(64),
        ] {
            assert_eq!(text.parse::<KeyPrefix>().expect(text).to_string(), text);
        }
    }
}
