//! What somebody searches for.

/// The most characters of a term.
const MAX_LENGTH: usize = 256;

/// From how many characters on a term is looked for anywhere. A shorter one is looked for at the start of codes.
const ANYWHERE: usize = 3;

/// What somebody searches for: 1 to 256 characters, folded. Three and more are found anywhere in a text, one or two only
/// at the start of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchTerm {
    folded: String,
    length: usize,
}

/// The text is no term.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a search is for 1 to {MAX_LENGTH} characters")]
pub struct InvalidTerm;

impl SearchTerm {
    /// Parses a term, without the white space around it.
    ///
    /// # Errors
    /// [`InvalidTerm`] if it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, InvalidTerm> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > MAX_LENGTH {
            return Err(InvalidTerm);
        }
        let folded: String = folded(text).collect();
        let length = folded.chars().count();
        Ok(Self { folded, length })
    }

    /// The folded term.
    pub(super) fn as_str(&self) -> &str {
        &self.folded
    }

    /// Whether it is looked for at the start of codes only.
    pub(super) fn is_prefix(&self) -> bool {
        self.length < ANYWHERE
    }

    /// Whether a text contains it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let is_folded = |c: char| c.is_ascii() && !c.is_ascii_uppercase();
        if text.chars().all(is_folded) {
            return text.contains(&self.folded);
        }
        folded(text).collect::<String>().contains(&self.folded)
    }

    /// Whether a code begins with it.
    pub(super) fn begins(&self, code: &str) -> bool {
        let mut characters = folded(code);
        self.folded.chars().all(|c| characters.next() == Some(c))
    }
}

/// The characters of a text with differences of case taken away: those of Rust's `char::to_lowercase`, and one sigma for
/// both small ones. Each character by itself, so that a part of a text folds to a part of the folded text. A database's
/// `lower` would depend on its locale.
pub(super) fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).map(|c| match c {
        'ς' => 'σ',
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> SearchTerm {
        SearchTerm::parse(text).expect("a term")
    }

    #[test]
    fn a_term_is_found_whatever_its_case() {
        for (searched, text) in [
            ("EXAMPLE", "https://example.com/"),
            ("ample.c", "https://Example.Com/"),
            ("ÄPFEL", "Viele Äpfel"),
            ("οδοσ", "ΟΔΟΣ"),
            ("ΟΔΟΣ", "οδος"),
            ("100%", "100% of it"),
            ("a_\"*", "xA_\"*"),
            ("日本語", "これは日本語です"),
        ] {
            assert!(term(searched).is_in(text), "{searched} {text}");
        }
        for (searched, text) in [
            ("a%e", "apple"),
            ("a_p", "app"),
            ("abc", "ab c"),
            ("\0ab", "ab"),
        ] {
            assert!(!term(searched).is_in(text), "{searched:?} {text}");
        }
    }

    #[test]
    fn a_short_term_is_the_start_of_a_code() {
        assert!(term("A").is_prefix() && term("日本").is_prefix() && !term("abc").is_prefix());
        assert!(term("aB").begins("AbC") && !term("b").begins("ab") && !term("ab").begins("a"));
    }

    #[test]
    fn a_term_has_bounds() {
        assert_eq!(SearchTerm::parse(" \t"), Err(InvalidTerm));
        assert_eq!(SearchTerm::parse(&"é".repeat(257)), Err(InvalidTerm));
        assert!(SearchTerm::parse(&"é".repeat(256)).is_ok());
        assert_eq!(term(" a b ").as_str(), "a b");
    }
}
