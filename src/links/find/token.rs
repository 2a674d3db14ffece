//! What the index knows of a link: tokens. A link that a filter includes has all tokens of the filter. The opposite is
//! not true: what the index finds has to be looked at.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{LinkFilter, SearchTerm, Whose, term::folded};
use crate::links::{LinkRecord, LinkState};

/// Something that a link has. A number, so that both databases and all releases have the same ones:
///
/// | bits 63 | 62–42 | 41–21 | 20–0 | token |
/// |---|---|---|---|---|
/// | 0 | character | character | character | three characters in a row of a text, folded |
/// | 0 | [`MARK`] | character | character or [`MARK`] | the first two characters of a code, or the first |
/// | 1 | hash | | | anything else; see [`named`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::links) struct Token(pub(super) i64);

/// No character has this number.
const MARK: u64 = 0x1f_ffff;

/// The most tokens of one text by which links are looked for. More would hardly leave out more links, and each one has
/// to be read for every block.
const MAX_OF_TEXT: usize = 6;

/// The most tokens of the contents of a link that the index has. A link with more has [`look`] instead of them: a note
/// of thousands of different characters would take as much room as hundreds of other links.
const MOST_OF_LINK: usize = 1_000;

/// Into how many parts the entries of a block are divided, each with a row of its own.
pub(in crate::links) const BUCKETS: i16 = 256;

impl Token {
    /// The part of a block where its entry is.
    pub(in crate::links) fn bucket(self) -> i16 {
        // The upper bits of a product with a large odd number depend on all bits below.
        let mixed = (self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as i16
    }
}

fn packed(first: u64, second: u64, third: u64) -> Token {
    Token((first << 42 | second << 21 | third) as i64)
}

/// A token by the kind and the name of what it stands for.
fn named(kind: &str, name: &str) -> Token {
    let hash: [u8; 32] = Sha256::digest(format!("{kind}\n{name}")).into();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    Token(i64::from_be_bytes(bytes) | i64::MIN)
}

/// Every link has it.
fn any() -> Token {
    named("link", "")
}

/// The index does not say what the link contains: one has to look at it.
pub(super) fn look() -> Token {
    named("look", "")
}

/// What the index is told of a link.
#[derive(Default)]
pub(super) struct LinkTokens {
    /// What it is: whose, and in which states it may be. There are few of these.
    pub(super) facts: BTreeSet<Token>,
    /// What it contains: tags, starts of codes and parts of texts. `None` if that is too much for the index.
    pub(super) contents: Option<BTreeSet<Token>>,
}

/// What every link has that a filter includes. Nothing if the filter includes nearly every link.
#[derive(Default)]
pub(super) struct Wanted {
    /// As [`LinkTokens::facts`].
    pub(super) facts: BTreeSet<Token>,
    /// As [`LinkTokens::contents`]. A link that has [`look`] may have any of them.
    pub(super) contents: BTreeSet<Token>,
}

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.contents.is_empty()
    }

    /// The parts of a block that say which links may be wanted, in the order of their numbers.
    pub(super) fn buckets(&self) -> Vec<i16> {
        let look = (!self.contents.is_empty()).then(look);
        let tokens = self.facts.iter().chain(&self.contents).chain(&look);
        let buckets: BTreeSet<_> = tokens.map(|token| token.bucket()).collect();
        buckets.into_iter().collect()
    }
}

fn of_owner(owner: Option<&str>) -> Token {
    owner.map_or_else(|| named("nobody", ""), |owner| named("owner", owner))
}

fn of_tag(tag: &str) -> Token {
    named("tag", tag)
}

/// What a link must have to be in a state. Nothing can be said of an active link.
fn of_state(state: LinkState) -> Option<Token> {
    match state {
        LinkState::Active => None,
        state => Some(named("state", state.name())),
    }
}

/// Three characters in a row, for each place in a text.
fn grams(text: impl Iterator<Item = char>) -> impl Iterator<Item = Token> {
    let (mut first, mut second) = (None, None);
    text.filter_map(move |third| {
        let gram = first
            .zip(second)
            .map(|(first, second)| packed(first, second, u64::from(third)));
        (first, second) = (second, Some(u64::from(third)));
        gram
    })
}

/// The first character of a code, and the first two.
fn starts(code: impl Iterator<Item = char>) -> impl Iterator<Item = Token> {
    let mut characters = code.map(u64::from);
    let (first, second) = (characters.next(), characters.next());
    let one = first.map(|first| packed(MARK, first, MARK));
    let two = first
        .zip(second)
        .map(|(first, second)| packed(MARK, first, second));
    one.into_iter().chain(two)
}

/// All tokens of a link.
pub(super) fn of_link(link: &LinkRecord) -> LinkTokens {
    let owner = link.owner.as_ref().map(|owner| owner.as_str());
    let mut facts = BTreeSet::from([any(), of_owner(owner)]);
    let may_be = [
        (LinkState::Scheduled, link.starts_at.is_some()),
        (LinkState::UsedUp, link.max_visits.is_some()),
        (LinkState::Expired, link.expires_at.is_some()),
        (LinkState::Disabled, !link.enabled),
        (LinkState::Deleted, link.deleted_at.is_some()),
    ];
    let may_be = may_be.into_iter().filter(|(_, may_be)| *may_be);
    facts.extend(may_be.filter_map(|(state, _)| of_state(state)));
    let contents = contents_of(link);
    LinkTokens { facts, contents }
}

/// `None` if there are too many. Goes no further than it has to: a text that was not written by this service may be of
/// any length.
fn contents_of(link: &LinkRecord) -> Option<BTreeSet<Token>> {
    let tags = link.tags.iter().map(|tag| of_tag(tag));
    let codes = || link.codes().map(|code| code.as_str());
    let starts = codes().flat_map(|code| starts(folded(code)));
    let labels = link.title.iter().chain(&link.note).chain(&link.tags);
    let texts = labels.chain([&link.target]).map(String::as_str);
    let grams = codes().chain(texts).flat_map(|text| grams(folded(text)));
    let mut contents = BTreeSet::new();
    for token in tags.chain(starts).chain(grams) {
        contents.insert(token);
        if contents.len() > MOST_OF_LINK {
            return None;
        }
    }
    Some(contents)
}

/// What every link has that the filter includes.
pub(super) fn of_filter(filter: &LinkFilter) -> Wanted {
    let mut wanted = Wanted::default();
    let facts = &mut wanted.facts;
    match &filter.owner {
        Whose::Anyone => {}
        Whose::Nobody => facts.extend([of_owner(None)]),
        Whose::Owner(owner) => facts.extend([of_owner(Some(owner.as_str()))]),
    }
    facts.extend(filter.state.and_then(of_state));
    if !filter.expires.is_always() {
        facts.extend(of_state(LinkState::Expired));
    }
    if !filter.created.is_always() {
        facts.insert(any());
    }
    let contents = &mut wanted.contents;
    contents.extend(filter.tag.as_deref().map(of_tag));
    if let Some(term) = &filter.search {
        contents.extend(of_term(term));
    }
    if let Some(target) = &filter.target {
        contents.extend(some_of(grams(folded(target)).collect()));
    }
    wanted
}

fn of_term(term: &SearchTerm) -> Vec<Token> {
    let text = term.as_str();
    if term.is_prefix() {
        return starts(text.chars()).last().into_iter().collect();
    }
    some_of(grams(text.chars()).collect())
}

/// Some of the tokens of a text: the last one, because texts differ more at their end, and others at equal distances.
fn some_of(grams: Vec<Token>) -> Vec<Token> {
    let count = grams.len();
    if count <= MAX_OF_TEXT {
        return grams;
    }
    let places = (1..=MAX_OF_TEXT).map(|number| number * count / MAX_OF_TEXT - 1);
    places.map(|place| grams[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_three_characters_is_of_no_other_three() {
        let mut tokens: Vec<_> = grams("a\u{10ffff}bca\u{10ffff}".chars()).collect();
        tokens.extend(starts("ab".chars()));
        tokens.extend(starts("b".chars()));
        tokens.extend([any(), look(), of_owner(None), of_owner(Some("a"))]);
        tokens.push(of_tag("a"));
        let different: BTreeSet<_> = tokens.iter().collect();
        assert_eq!(different.len(), tokens.len());
        assert_eq!(tokens.len(), 4 + 2 + 1 + 5);
        let is_named = |token: &&Token| token.0 < 0;
        assert_eq!(tokens.iter().filter(is_named).count(), 5);
    }

    #[test]
    fn a_long_text_is_looked_for_by_some_of_its_tokens() {
        let grams: Vec<_> = (0..1_000).map(Token).collect();
        let some = some_of(grams);
        assert_eq!(some.len(), MAX_OF_TEXT);
        assert_eq!(some.last(), Some(&Token(999)));
        assert_eq!(some_of(vec![Token(1)]), [Token(1)]);
    }

    #[test]
    fn tokens_are_spread_over_all_buckets() {
        let text = (0..2_000)
            .map(|number| format!("{number} "))
            .collect::<String>();
        let buckets: BTreeSet<_> = grams(text.chars()).map(Token::bucket).collect();
        assert!(buckets.len() > 240, "{}", buckets.len());
        assert!(buckets.iter().all(|bucket| (0..BUCKETS).contains(bucket)));
    }
}
