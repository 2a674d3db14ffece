//! A block of the index: which of its links have which token.
//!
//! A block is about the links of [`BLOCK`] numbers in a row. Its entries are sorted by token, and divided into
//! [`BUCKETS`] rows, so that a search reads only a few of them, and a table has not a row for every token.
//!
//! | entry | bytes |
//! |---|---|
//! | token | 8, the most significant first |
//! | how many links have it | 2, the most significant first |
//! | which | 2 for each, or a bit for each number of the block if there are more than [`MOST_LISTED`] |
//!
//! A block has a bound, whatever its links contain. A link that does not fit has only the token [`look`](token::look)
//! for what it contains, and a row that is too long is replaced by [`UNREADABLE`]: whoever searches looks at more links
//! then, and leaves none out.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    time::SystemTime,
};

use super::token::{self, BUCKETS, Token, Wanted};
use crate::links::{LinkRecord, terms::unix_seconds};

/// How many numbers of links belong to a block: 2 to the power of this. The migrations and the SQL have the same number.
const BLOCK_BITS: u32 = 11;

/// How many numbers of links belong to a block.
pub(in crate::links) const BLOCK: usize = 1 << BLOCK_BITS;

/// Up to how many links of an entry are listed one by one.
const MOST_LISTED: usize = BLOCK / 16;

const WORDS: usize = BLOCK / 64;

/// The most tokens of all links of a block together. Links to pages, with a title and some tags, have 100 to 200 each.
const MOST_TOKENS: usize = 500_000;

/// The most bytes of a row.
const MOST_BYTES: usize = 128 * 1_024;

/// A row that says nothing.
const UNREADABLE: &[u8] = &[0];

/// The block that the link with this number belongs to.
pub(super) fn block_of(id: i64) -> i64 {
    id >> BLOCK_BITS
}

/// The numbers of the links of a block.
pub(in crate::links) fn ids_of(block: i64) -> RangeInclusive<i64> {
    let first = block << BLOCK_BITS;
    first..=first + (BLOCK as i64 - 1)
}

/// What is known of a block that is in the index.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::links) struct BlockSummary {
    /// Its number.
    pub(in crate::links) block: i64,
    /// When the first and the last of its links were made. `None` if it has no links.
    pub(in crate::links) created: Option<Range<SystemTime>>,
    /// The length of its longest row.
    pub(in crate::links) row_bytes: usize,
}

/// A block that is being put together.
#[derive(Default)]
pub(in crate::links) struct NewBlock {
    entries: Vec<(Token, u16)>,
    created: Option<Range<SystemTime>>,
}

impl NewBlock {
    /// Adds a link of the block. Links come in the order of their numbers.
    pub(in crate::links) fn add(&mut self, link: &LinkRecord) {
        let place = place_of(link.id) as u16;
        let tokens = token::of_link(link);
        let has_room = |contents: &BTreeSet<_>| self.entries.len() + contents.len() <= MOST_TOKENS;
        let contents = tokens.contents.filter(has_room);
        let contents = contents.unwrap_or_else(|| BTreeSet::from([token::look()]));
        let all = tokens.facts.into_iter().chain(contents);
        self.entries.extend(all.map(|token| (token, place)));
        let at = link.created_at;
        let created = self.created.get_or_insert(at..at);
        *created = created.start.min(at)..created.end.max(at);
    }

    /// When the first and the last of its links were made, in Unix seconds.
    pub(in crate::links) fn created(&self) -> [Option<f64>; 2] {
        let created = self.created.as_ref();
        [
            created.map(|times| unix_seconds(times.start)),
            created.map(|times| unix_seconds(times.end)),
        ]
    }

    /// The rows of all buckets, in the order of their numbers.
    pub(in crate::links) fn into_rows(mut self) -> Vec<Vec<u8>> {
        let mut rows = vec![Vec::new(); BUCKETS as usize];
        self.entries.sort_unstable();
        for entry in self.entries.chunk_by(|one, next| one.0 == next.0) {
            let Some((token, _)) = entry.first() else {
                continue;
            };
            let places: Vec<_> = entry.iter().map(|(_, place)| *place).collect();
            write(&mut rows[token.bucket() as usize], *token, &places);
        }
        for row in &mut rows {
            if row.len() > MOST_BYTES {
                *row = UNREADABLE.to_vec();
            }
        }
        rows
    }
}

fn place_of(id: i64) -> usize {
    (id & (BLOCK as i64 - 1)) as usize
}

fn write(row: &mut Vec<u8>, token: Token, places: &[u16]) {
    row.extend(token.0.to_be_bytes());
    row.extend((places.len() as u16).to_be_bytes());
    if places.len() <= MOST_LISTED {
        row.extend(places.iter().flat_map(|place| place.to_be_bytes()));
    } else {
        let mut links = Places::default();
        for &place in places {
            links.insert(usize::from(place));
        }
        row.extend(links.0.iter().flat_map(|word| word.to_be_bytes()));
    }
}

/// Some of the places of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places([u64; WORDS]);

impl Places {
    pub(super) fn insert(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Keeps those that are in both.
    pub(super) fn keep(&mut self, others: &Self) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word &= other;
        }
    }

    /// Adds those of others.
    fn add(&mut self, others: &Self) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word |= other;
        }
    }

    /// The numbers of the links at these places of a block, the lowest first.
    pub(super) fn ids(&self, block: i64) -> impl DoubleEndedIterator<Item = i64> {
        let first = *ids_of(block).start();
        let is_in = |place: &usize| self.0[place / 64] >> (place % 64) & 1 == 1;
        (0..BLOCK)
            .filter(is_in)
            .map(move |place| first + place as i64)
    }

    /// As [`insert`](Self::insert), by the number of a link.
    pub(super) fn insert_id(&mut self, id: i64) {
        self.insert(place_of(id));
    }
}

/// Where in its block the links are that may be wanted, by the rows of the buckets. A row that cannot be read says
/// nothing: then every place may have such a link.
pub(super) fn places(wanted: &Wanted, rows: &BTreeMap<i16, Vec<u8>>) -> Places {
    let mut places = Places([u64::MAX; WORDS]);
    let entry = |token: Token| read(rows.get(&token.bucket())?, token);
    for token in &wanted.facts {
        if let Some(entry) = entry(*token) {
            places.keep(&entry);
        }
    }
    if wanted.contents.is_empty() {
        return places;
    }
    let Some(look) = entry(token::look()) else {
        return places;
    };
    for token in &wanted.contents {
        if let Some(mut entry) = entry(*token) {
            entry.add(&look);
            places.keep(&entry);
        }
    }
    places
}

/// Where the links are that have a token; `None` if the row cannot be read.
fn read(row: &[u8], wanted: Token) -> Option<Places> {
    let mut places = Places::default();
    let mut rest = row;
    while !rest.is_empty() {
        let (token, after) = rest.split_first_chunk()?;
        let (count, after) = after.split_first_chunk()?;
        let token = Token(i64::from_be_bytes(*token));
        let count = usize::from(u16::from_be_bytes(*count));
        let is_listed = count <= MOST_LISTED;
        let length = if is_listed { 2 * count } else { 8 * WORDS };
        let (entry, after) = after.split_at_checked(length)?;
        rest = after;
        if token > wanted {
            break;
        }
        if token < wanted {
            continue;
        }
        if is_listed {
            let listed = entry.chunks_exact(2);
            for place in listed.filter_map(<[u8]>::first_chunk) {
                places.insert(usize::from(u16::from_be_bytes(*place)));
            }
        } else {
            let words = entry.chunks_exact(8).filter_map(<[u8]>::first_chunk);
            for (word, bytes) in places.0.iter_mut().zip(words) {
                *word = u64::from_be_bytes(*bytes);
            }
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::links::{LinkFilter, SearchTerm, record::tests::record};

    fn row(entries: &[(i64, &[u16])]) -> Vec<u8> {
        let mut row = Vec::new();
        for (token, places) in entries {
            write(&mut row, Token(*token), places);
        }
        row
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let all: Vec<_> = (0..BLOCK as u16).collect();
        let many: Vec<_> = (0..=MOST_LISTED as u16).map(|number| number * 3).collect();
        let listed: Vec<_> = (0..MOST_LISTED as u16).map(|number| number * 7).collect();
        let entries: [(i64, &[u16]); 6] = [
            (i64::MIN, &[0]),
            (-1, &all),
            (0, &listed),
            (7, &many),
            (8, &[3, 2_047]),
            (i64::MAX, &[1]),
        ];
        let row = row(&entries);
        for (token, places) in entries {
            let read = read(&row, Token(token)).expect("a row");
            let ids: Vec<_> = read.ids(0).map(|id| id as u16).collect();
            assert_eq!(ids, places, "{token}");
        }
        assert_eq!(read(&row, Token(9)), Some(Places::default()));
    }

    /// Any link may have a note of any characters.
    #[test]
    fn a_block_has_a_bound_and_leaves_no_link_out_whatever_links_contain() {
        let mut random = StdRng::seed_from_u64(5);
        let mut new = NewBlock::default();
        let mut notes = Vec::new();
        for id in 0..BLOCK as i64 {
            // Too many different characters for one link, and for all of a block.
            let length = if id % 2 == 0 { 4_000 } else { 900 };
            let characters = (0..length).map(|_| random.random_range('\u{4e00}'..'\u{9fff}'));
            let note: String = characters.collect();
            new.add(&LinkRecord {
                id,
                note: Some(note.clone()),
                ..record()
            });
            notes.push(note);
        }
        let rows: BTreeMap<i16, Vec<u8>> = (0..).zip(new.into_rows()).collect();
        let bytes: usize = rows.values().map(Vec::len).sum();
        assert!(bytes <= 12 * MOST_TOKENS, "{bytes}");
        for id in [0, 1, 2, 501, 1_500, 2_047] {
            let term: String = notes[id].chars().skip(600).take(5).collect();
            let filter = LinkFilter {
                search: SearchTerm::parse(&term).ok(),
                ..LinkFilter::default()
            };
            let found = places(&token::of_filter(&filter), &rows);
            let ids: Vec<_> = found.ids(0).collect();
            assert!(ids.contains(&(id as i64)), "{id}");
            // Of 1,024 links with short notes, about half are in the index.
            assert!((1_024..1_800).contains(&ids.len()), "{}", ids.len());
        }
    }

    #[test]
    fn a_row_that_is_too_long_is_replaced() {
        let mut new = NewBlock::default();
        let token = |number: i64| Token(number);
        let bucket = token(0).bucket();
        let same = (0..).map(token).filter(|token| token.bucket() == bucket);
        new.entries
            .extend(same.take(20_000).map(|token| (token, 3)));
        let rows = new.into_rows();
        let row = &rows[usize::from(bucket.unsigned_abs())];
        assert_eq!(read(row, token(0)), None);
        assert!(rows.iter().all(|row| row.len() <= MOST_BYTES));
    }

    #[test]
    fn a_row_that_cannot_be_read_leaves_no_link_out() {
        let token = Token(5);
        let whole = row(&[(5, &[1, 2])]);
        for length in 1..whole.len() {
            assert_eq!(read(&whole[..length], token), None, "{length}");
            let rows = BTreeMap::from([(token.bucket(), whole[..length].to_vec())]);
            let wanted = Wanted {
                facts: BTreeSet::from([token]),
                contents: BTreeSet::from([token]),
            };
            let found = places(&wanted, &rows);
            assert_eq!(found.ids(0).count(), BLOCK, "{length}");
        }
    }

    #[test]
    fn a_number_belongs_to_one_block_whatever_its_sign() {
        for (id, block) in [
            (0, 0),
            (2_047, 0),
            (2_048, 1),
            (-1, -1),
            (-2_048, -1),
            (-2_049, -2),
        ] {
            assert_eq!(block_of(id), block, "{id}");
            assert!(ids_of(block).contains(&id), "{id}");
            let mut places = Places::default();
            places.insert_id(id);
            assert_eq!(places.ids(block).collect::<Vec<_>>(), [id]);
        }
    }
}
