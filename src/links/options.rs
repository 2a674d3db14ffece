//! What a link can have beside its target and its terms.

use super::{PasswordHash, TargetUrl};

/// What a link can have beside its target and its terms. By default nothing, and it is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// How visitors are led to the target.
    pub manner: Manner,
    /// Where visitors are led once the link has expired or is used up.
    pub fallback: Option<TargetUrl>,
    /// Whether it works at all. A link can be taken down without being deleted.
    pub enabled: bool,
    /// What visitors have to know before it leads them anywhere.
    pub password: Option<PasswordHash>,
    /// What people call it.
    pub labels: Labels,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            manner: Manner::default(),
            fallback: None,
            enabled: true,
            password: None,
            labels: Labels::default(),
        }
    }
}

impl LinkOptions {
    /// Whether the link has none.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// How visitors are led to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// The status of the answer.
    pub redirect: Redirect,
    /// Whether the query of the visitor's request is added to the target's.
    pub forward_query: bool,
}

/// The status that leads a visitor to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// 301: for good; another method than `GET` may become `GET`.
    MovedPermanently = 301,
    /// 302: for now; another method than `GET` may become `GET`.
    #[default]
    Found = 302,
    /// 303: with `GET`.
    SeeOther = 303,
    /// 307: for now, with the same method.
    TemporaryRedirect = 307,
    /// 308: for good, with the same method.
    PermanentRedirect = 308,
}

/// The status is none of 301, 302, 303, 307 and 308.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a redirect is 301, 302, 303, 307 or 308")]
pub struct InvalidRedirect;

impl Redirect {
    /// The number of the status.
    pub fn status(self) -> u16 {
        self as u16
    }

    /// Whether a browser may remember where the link leads.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::MovedPermanently | Self::PermanentRedirect)
    }

    /// What a table holds: nothing for the default.
    pub(super) fn stored(self) -> Option<i16> {
        (self != Self::default()).then_some(self as i16)
    }
}

impl TryFrom<u16> for Redirect {
    type Error = InvalidRedirect;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        [
            Self::MovedPermanently,
            Self::Found,
            Self::SeeOther,
            Self::TemporaryRedirect,
            Self::PermanentRedirect,
        ]
        .into_iter()
        .find(|redirect| redirect.status() == status)
        .ok_or(InvalidRedirect)
    }
}

/// What people call a link. Visitors can see the title, and nothing else of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// A title of one line.
    pub title: Option<Title>,
    /// A note, of any number of lines.
    pub note: Option<Note>,
    /// Tags, each once, in the order in which they were given.
    pub tags: Tags,
}

/// A title: one line of 1 to 500 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

/// A note: 1 to 5,000 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(String);

/// At most 20 tags, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

/// Why a text is no title, note or tag.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidLabel {
    /// Empty, too long, or with control characters.
    #[error("a title is one line of at most 500 characters")]
    Title,
    /// Empty, too long, or with control characters other than line breaks and tabs.
    #[error(
        "a note is at most 5000 characters, without control characters but line breaks and tabs"
    )]
    Note,
    /// Empty, too long, with a comma or with control characters.
    #[error("a tag is 1 to 50 characters, without commas and control characters")]
    Tag,
    /// More than 20 different ones.
    #[error("a link has at most 20 tags")]
    TooManyTags,
}

impl Title {
    /// Parses a title, without the white space around it.
    ///
    /// # Errors
    /// [`InvalidLabel::Title`]
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let text = text.trim();
        let valid = is_within(text, 500) && !text.contains(char::is_control);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidLabel::Title)
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Note {
    /// Parses a note, without the white space around it. Line breaks become `\n`.
    ///
    /// # Errors
    /// [`InvalidLabel::Note`]
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        // Browsers send the line breaks of a text area as CR LF.
        let text = text.trim().replace("\r\n", "\n");
        let refused = |c: char| c.is_control() && c != '\n' && c != '\t';
        let valid = is_within(&text, 5_000) && !text.contains(refused);
        valid.then_some(Self(text)).ok_or(InvalidLabel::Note)
    }

    /// The note as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tags {
    /// Parses tags, each without the white space around it, and leaves out those that come again.
    ///
    /// # Errors
    /// [`InvalidLabel::Tag`] or [`InvalidLabel::TooManyTags`]
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidLabel> {
        let mut tags: Vec<String> = Vec::new();
        for text in texts {
            let text = text.trim();
            if !is_within(text, 50) || text.contains(|c: char| c == ',' || c.is_control()) {
                return Err(InvalidLabel::Tag);
            }
            if !tags.iter().any(|tag| tag == text) {
                tags.push(text.to_owned());
            }
            if tags.len() > 20 {
                return Err(InvalidLabel::TooManyTags);
            }
        }
        Ok(Self(tags))
    }

    /// A JSON array, or nothing if there are none.
    pub(super) fn to_json(&self) -> Option<String> {
        let json = || serde_json::to_string(&self.0).unwrap_or_default();
        (!self.0.is_empty()).then(json)
    }

    /// The tags in their order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn is_within(text: &str, characters: usize) -> bool {
    !text.is_empty() && text.chars().count() <= characters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_five_redirects_are_redirects() {
        for status in 0..1_000 {
            let redirect = Redirect::try_from(status);
            let known = [301, 302, 303, 307, 308].contains(&status);
            assert_eq!(redirect.is_ok(), known, "{status}");
            if let Ok(redirect) = redirect {
                assert_eq!(redirect.status(), status);
                let permanent = [301, 308].contains(&status);
                assert_eq!(redirect.is_permanent(), permanent, "{status}");
                assert_eq!(redirect.stored().is_none(), status == 302);
            }
        }
    }

    #[test]
    fn labels_have_bounds_and_no_control_characters() {
        let (longest, longer) = ("é".repeat(500), "é".repeat(501));
        for (text, title) in [
            (" A title ", Some("A title")),
            (&longest, Some(&longest[..])),
            (&longer, None),
            ("", None),
            ("  ", None),
            ("two\nlines", None),
            ("a\u{7f}", None),
            ("a\u{85}b", None),
            ("nul\0", None),
        ] {
            let parsed = Title::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Title::as_str), title, "{text:?}");
        }
        for (text, note) in [
            ("one\r\ntwo\n\tthree", Some("one\ntwo\n\tthree")),
            ("a\rb", None),
            ("\u{1b}[31m", None),
            (" ", None),
            (&"x".repeat(5_001), None),
        ] {
            let parsed = Note::parse(text).ok();
            assert_eq!(parsed.as_ref().map(Note::as_str), note, "{text:.20?}");
        }
    }

    #[test]
    fn a_tag_is_there_once_and_they_are_not_too_many() {
        let tags = Tags::parse(["b", " a ", "b", "A"]).expect("tags");
        assert_eq!(tags.as_slice(), ["b", "a", "A"]);
        for wrong in ["", " ", "a,b", "a\nb", "a\0", &"x".repeat(51)] {
            assert_eq!(Tags::parse([wrong]), Err(InvalidLabel::Tag), "{wrong:?}");
        }
        let numbers: Vec<_> = (0..21).map(|number| number.to_string()).collect();
        let texts = || numbers.iter().map(String::as_str);
        assert_eq!(Tags::parse(texts()), Err(InvalidLabel::TooManyTags));
        assert!(Tags::parse(texts().take(20).chain(["0"])).is_ok());
        assert!(Tags::parse([]).is_ok_and(|tags| tags.as_slice().is_empty()));
    }
}
