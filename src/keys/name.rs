//! What a key is called.

use std::{fmt, str::FromStr, sync::Arc};

use super::ApiKey;

/// The most characters of a name.
const MAX_LENGTH: usize = 64;

/// The name of a key, by which people and commands speak of it: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. Names
/// differ by case. Of keys that are not revoked, no two have the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

/// Why a text is no name of a key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidKeyName {
    /// Empty, too long, or with other characters.
    #[error("the name of a key is 1 to {MAX_LENGTH} of A-Z, a-z, 0-9, `.`, `_` and `-`")]
    Form,
    /// It is a key. A name is stored and shown, a key must not be.
    #[error("this is a key itself; `shunt keys list` shows the names of keys")]
    IsAKey,
    /// A segment of a path that clients resolve before they send it, so the key could not be revoked by API.
    #[error("`.` and `..` cannot be names: clients resolve them in a path")]
    Dots,
}

impl KeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidKeyName`] if the text cannot be one.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=MAX_LENGTH).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(InvalidKeyName::Form);
        }
        if ApiKey::parse(text).is_some() {
            return Err(InvalidKeyName::IsAKey);
        }
        Ok(Self(text.into()))
    }

    /// Parses the name of a key that is to be made. Keys of earlier releases may be called `.` or `..`.
    ///
    /// # Errors
    /// [`InvalidKeyName`] if no key can be given it.
    pub fn parse_new(text: &str) -> Result<Self, InvalidKeyName> {
        match text {
            "." | ".." => Err(InvalidKeyName::Dots),
            text => Self::parse(text),
        }
    }

    /// A name that no key has, and that no key will get by chance.
    pub(super) fn unused() -> Self {
        Self(format!("rehearsal-{:032x}", rand::random::<u128>()).into())
    }

    /// A name that a store has given out.
    pub(super) fn from_store(name: String) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        Self::parse(text)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain_and_no_key() {
        for name in ["phone", "a", "Anna.s-phone_2", &"x".repeat(64)] {
            assert_eq!(
                KeyName::parse(name).map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
        for name in ["", "my phone", "a@b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(KeyName::parse(name), Err(InvalidKeyName::Form), "{name:?}");
        }
        for name in [".", ".."] {
            assert!(KeyName::parse(name).is_ok(), "a key may have it");
            assert_eq!(KeyName::parse_new(name), Err(InvalidKeyName::Dots));
        }
        assert_eq!(KeyName::parse_new("..."), KeyName::parse("..."));
        assert_eq!(KeyName::parse_new(""), Err(InvalidKeyName::Form));
        let key = ApiKey::generate();
        assert_eq!(KeyName::parse(key.secret()), Err(InvalidKeyName::IsAKey));
        let unused = KeyName::unused();
        assert_eq!(KeyName::parse(unused.as_str()).as_ref(), Ok(&unused));
        assert_ne!(unused, KeyName::unused());
    }
}
