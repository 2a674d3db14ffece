//! The code of a short link: `Ab3xY9`.

use std::fmt;

use rand::{RngExt, distr::Alphanumeric};

use crate::public::is_reserved;

/// The longest code or alias.
const MAX_LENGTH: usize = 64;

/// A code that a link could have: 1 to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShortCode(Box<str>);

impl ShortCode {
    /// The code that a path names, or `None` if no link could have that code.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(Self::allows);
        valid.then(|| Self(text.into()))
    }

    /// Whether a code may have this character.
    pub fn allows(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
    }

    /// The code without `_` at its end, which may be markup around a link: `_https://sho.rt/launch_`. `None` if there
    /// is no such `_`, or nothing else.
    pub fn without_emphasis(&self) -> Option<Self> {
        let shorter = self.0.trim_end_matches('_');
        (shorter.len() < self.0.len() && !shorter.is_empty()).then(|| Self(shorter.into()))
    }

    /// A new code of `length + extra` characters of `A-Z`, `a-z`, `0-9`, each equally likely and drawn
    /// from a cryptographic generator that the operating system seeds.
    pub fn random(length: CodeLength, extra: usize) -> Self {
        let mut rng = rand::rng();
        loop {
            let code: String = (&mut rng)
                .sample_iter(Alphanumeric)
                .take(length.0 + extra)
                .map(char::from)
                .collect();
            if !is_reserved(&code) {
                return Self(code.into());
            }
        }
    }

    /// A code that no link has, and that no link will get by chance: 32 random characters.
    pub(super) fn unused() -> Self {
        Self::random(CodeLength(32), 0)
    }

    /// A code that a store has given out.
    pub(super) fn from_store(code: String) -> Self {
        Self(code.into())
    }

    /// Whether it has one of `A-Z`.
    pub(super) fn has_capitals(&self) -> bool {
        self.0.bytes().any(|byte| byte.is_ascii_uppercase())
    }

    /// The code with `a-z` for `A-Z`.
    pub(super) fn in_small_letters(&self) -> Self {
        Self(self.0.to_ascii_lowercase().into())
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A code that a person chose: 3 to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`, not a reserved word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(ShortCode);

/// Why a text is no alias.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidAlias {
    /// Too short, too long, or with other characters.
    #[error("an alias is 3 to {MAX_LENGTH} letters, digits, `-` or `_`")]
    Form,
    /// One of the words that are kept for the service itself.
    #[error("that alias is reserved")]
    Reserved,
}

impl Alias {
    /// Parses an alias.
    ///
    /// # Errors
    /// [`InvalidAlias`] if the text cannot be one.
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        if text.len() < 3 {
            return Err(InvalidAlias::Form);
        }
        if is_reserved(text) {
            return Err(InvalidAlias::Reserved);
        }
        ShortCode::parse(text).map(Self).ok_or(InvalidAlias::Form)
    }

    /// The code that the link will have.
    pub fn code(&self) -> &ShortCode {
        &self.0
    }

    /// The same, without the alias.
    pub fn into_code(self) -> ShortCode {
        self.0
    }
}

/// How long random codes are: 4 to 32 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLength(usize);

/// The length is outside of 4 to 32.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a code is 4 to 32 characters long")]
pub struct InvalidCodeLength;

impl TryFrom<usize> for CodeLength {
    type Error = InvalidCodeLength;

    fn try_from(length: usize) -> Result<Self, Self::Error> {
        if (4..=32).contains(&length) {
            Ok(Self(length))
        } else {
            Err(InvalidCodeLength)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn length(length: usize) -> CodeLength {
        length.try_into().expect("a length")
    }

    #[test]
    fn codes_are_of_the_alphabet_and_of_the_length_and_differ() {
        let codes: HashSet<_> = (0..2_000)
            .map(|_| ShortCode::random(length(6), 0))
            .collect();
        // 2,000 of 62^6: two alike are a chance of 1 in 28,000.
        assert!(codes.len() >= 1_999);
        let mut seen = HashSet::new();
        for code in &codes {
            assert_eq!(code.as_str().len(), 6);
            seen.extend(code.as_str().bytes());
        }
        let alphabet: HashSet<u8> = (0..=u8::MAX).filter(u8::is_ascii_alphanumeric).collect();
        assert_eq!(seen, alphabet, "every character occurs, and no other");
        assert_eq!(ShortCode::random(length(6), 2).as_str().len(), 8);
    }

    #[test]
    fn a_path_that_no_link_could_have_is_no_code() {
        for path in [
            "",
            "a b",
            "é",
            "a/b",
            "a.b",
            "a\0",
            "..",
            "%41",
            &"x".repeat(65),
        ] {
            assert_eq!(ShortCode::parse(path), None, "{path:?}");
        }
        for path in ["a", "Ab3xY9", "my-link_2", &"x".repeat(64)] {
            assert!(ShortCode::parse(path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn reserved_words_never_become_codes() {
        for word in ["shorten", "Shorten", "METRICS", "favicon"] {
            assert_eq!(Alias::parse(word), Err(InvalidAlias::Reserved), "{word}");
        }
        for word in ["ab", "a b c", "ümlaut", ""] {
            assert_eq!(Alias::parse(word), Err(InvalidAlias::Form), "{word}");
        }
        for alias in ["my-link", "abc"] {
            let code = Alias::parse(alias).map(Alias::into_code);
            assert_eq!(code.map(|code| code.to_string()), Ok(alias.to_owned()));
        }
    }

    #[test]
    fn only_underscores_at_the_end_are_emphasis() {
        for (code, without) in [
            ("launch_", Some("launch")),
            ("launch__", Some("launch")),
            ("_launch_", Some("_launch")),
            ("launch", None),
            ("_launch", None),
            ("_", None),
            ("___", None),
        ] {
            let parsed = ShortCode::parse(code).expect("a code");
            let shorter = parsed.without_emphasis();
            assert_eq!(shorter.as_ref().map(ShortCode::as_str), without, "{code}");
        }
    }
}
