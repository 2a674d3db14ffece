//! Whom links and keys belong to.
//!
//! An owner is only a name. It needs no account: several keys may act for one owner, and later people who sign in
//! otherwise may have the same names. It imports nothing else of this crate, so that `keys` and `links` can both import
//! it.

use std::{fmt, str::FromStr, sync::Arc};

/// The most characters of a name.
const MAX_LENGTH: usize = 64;

/// The name of an owner: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `-`, `@` and `+`. Names differ by case. The default
/// is `default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Arc<str>);

/// The text is no owner.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the name of an owner is 1 to {MAX_LENGTH} of A-Z, a-z, 0-9, `.`, `_`, `-`, `@` and `+`")]
pub struct InvalidOwner;

impl Owner {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidOwner`] if it is too long or empty, or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidOwner> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
        let valid = (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into())).ok_or(InvalidOwner)
    }

    /// An owner that a store has given out.
    pub(crate) fn from_store(name: String) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, InvalidOwner> {
        Self::parse(text)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_may_be_a_name_or_a_mail_address() {
        for name in [
            "anna",
            "Anna",
            "a",
            "anna+links@example.com",
            "team_1.dev-ops",
            &"x".repeat(64),
        ] {
            let owner = Owner::parse(name).expect(name);
            assert_eq!((owner.as_str(), owner.to_string()), (name, name.to_owned()));
        }
        for name in [
            "",
            " anna",
            "anna bell",
            "ännä",
            "a/b",
            "a,b",
            "a\n",
            &"x".repeat(65),
        ] {
            assert_eq!(Owner::parse(name), Err(InvalidOwner), "{name:?}");
        }
        assert_ne!(Owner::parse("anna"), Owner::parse("Anna"));
        assert_eq!(Owner::parse("default"), Ok(Owner::default()));
    }
}
