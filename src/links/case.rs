//! Whether codes that differ only by case are one code.
//!
//! A code is stored as it was given, and shown like that. With [`CodeCase::Ignored`], look-ups and the cache use its
//! [folded](CodeCase::fold) form, and a unique index of the database ([`INDEX`]) decides whether a code is taken. A node
//! makes this index when it starts. It stays when the setting is turned off, because other nodes may still rely on it:
//! codes are then taken regardless of case, but looked up by their exact spelling.

use std::{borrow::Cow, fmt, time::Duration};

use super::ShortCode;
use crate::db::DatabaseError;

/// The name of the unique index on codes regardless of case. Releases before it do not know that it means that a code is
/// taken.
pub(super) const INDEX: &str = "urls_short_code_nocase_key";

/// Whether codes that differ only by case are one code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeCase {
    /// `launch` and `LAUNCH` are two codes.
    #[default]
    Matters,
    /// `launch` and `LAUNCH` are one code.
    Ignored,
}

/// An SQL statement that finds a code.
#[derive(Clone, Copy)]
pub(super) struct ByCode {
    /// By its exact spelling.
    pub(super) exact: &'static str,
    /// By its folded form.
    pub(super) folded: &'static str,
}

impl CodeCase {
    /// The one spelling that stands for all spellings of a code.
    pub fn fold(self, code: &ShortCode) -> Cow<'_, ShortCode> {
        match self {
            Self::Ignored if code.has_capitals() => Cow::Owned(code.in_small_letters()),
            Self::Ignored | Self::Matters => Cow::Borrowed(code),
        }
    }

    /// Whether both are one code.
    pub(super) fn is_same(self, one: &ShortCode, other: &ShortCode) -> bool {
        match self {
            Self::Matters => one == other,
            Self::Ignored => one.as_str().eq_ignore_ascii_case(other.as_str()),
        }
    }

    pub(super) fn statement(self, statement: ByCode) -> &'static str {
        match self {
            Self::Matters => statement.exact,
            Self::Ignored => statement.folded,
        }
    }
}

/// Why case cannot be ignored.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreCaseError {
    /// There are codes that would be one.
    #[error(transparent)]
    Conflicts(#[from] CaseConflicts),
    /// The index was not made in time.
    #[error(
        "the index on codes regardless of case was not complete within {0:?}; a backup may be in its way. Unless what \
         there is of it could be removed, new codes are refused if another spelling is taken"
    )]
    TooSlow(Duration),
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Codes that are stored and differ only by case.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct CaseConflicts {
    named: Vec<String>,
    /// How many there are beside those that are named.
    more: u64,
}

impl CaseConflicts {
    /// From rows of a code, and of the number of all such codes. `None` if there are no rows.
    ///
    /// Of codes that differ only by case, all are named, or none if they are not the first.
    pub(super) fn of(mut rows: Vec<(String, i64)>) -> Option<Self> {
        let all = rows.first()?.1;
        let folded = |(code, _): &(String, i64)| code.to_ascii_lowercase();
        if let Some(next) = rows.get(NAMED).map(folded) {
            let whole = rows.iter().position(|row| folded(row) == next);
            let whole = whole.filter(|whole| *whole > 0);
            rows.truncate(whole.unwrap_or(NAMED));
        }
        let named: Vec<_> = rows.into_iter().map(|(code, _)| code).collect();
        let more = u64::try_from(all).unwrap_or(0);
        let more = more.saturating_sub(named.len() as u64);
        Some(Self { named, more })
    }
}

impl fmt::Display for CaseConflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named.iter().map(|code| format!("`{code}`"));
        let named = named.collect::<Vec<_>>().join(", ");
        write!(f, "these codes differ only by case: {named}")?;
        if self.more > 0 {
            write!(f, ", and {} more; {ALL_CONFLICTS}", self.more)?;
        }
        Ok(())
    }
}

/// The most codes that are named.
const NAMED: usize = 10;

/// The codes that differ only by case. The same on both databases: codes are ASCII, and both fold ASCII alike, because
/// the column of Postgres has the collation "C". Reads the whole table.
macro_rules! conflicts {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM urls WHERE lower(short_code) IN \
             (SELECT lower(short_code) FROM urls GROUP BY lower(short_code) HAVING count(*) > 1) \
             ORDER BY lower(short_code), short_code"
        )
    };
}

/// For an administrator.
const ALL_CONFLICTS: &str = conflicts!("short_code");

/// The first of them, one more than are [named](NAMED), and how many there are. It is asked only while there is no index.
pub(super) const CONFLICTS: &str = concat!(conflicts!("short_code, count(*) OVER ()"), " LIMIT 11");

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> ShortCode {
        ShortCode::parse(text).expect("a code")
    }

    #[test]
    fn case_is_folded_only_where_it_is_ignored() {
        for (text, folded) in [
            ("LAUNCH", "launch"),
            ("laUnch-_9", "launch-_9"),
            ("launch", "launch"),
        ] {
            let given = code(text);
            assert_eq!(CodeCase::Ignored.fold(&given).as_str(), folded);
            assert_eq!(CodeCase::Matters.fold(&given).as_str(), text);
            assert!(CodeCase::Ignored.is_same(&given, &code(folded)));
            let is_same = CodeCase::Matters.is_same(&given, &code(folded));
            assert_eq!(is_same, text == folded);
        }
        // Nothing is copied for a code that is folded already.
        let folded = code("launch");
        assert!(matches!(CodeCase::Ignored.fold(&folded), Cow::Borrowed(_)));
        assert!(!CodeCase::Ignored.is_same(&code("a-b"), &code("a_b")));
    }

    #[test]
    fn conflicts_are_named_and_the_rest_is_counted() {
        let rows = |all| vec![("A".to_owned(), all), ("a".to_owned(), all)];
        let shown = |rows| CaseConflicts::of(rows).map(|conflicts| conflicts.to_string());
        assert_eq!(shown(Vec::new()), None);
        let expected = "these codes differ only by case: `A`, `a`";
        assert_eq!(shown(rows(2)).as_deref(), Some(expected));
        let expected = format!("{expected}, and 3 more; SELECT short_code FROM urls WHERE ");
        let shown = shown(rows(5)).expect("conflicts");
        assert!(shown.starts_with(&expected), "{shown}");
    }

    /// As many rows as the statement returns at most.
    #[test]
    fn of_codes_that_differ_only_by_case_all_are_named_or_none() {
        let named = |codes: [&str; 11]| {
            let rows = codes.map(|code| (code.to_owned(), 20));
            CaseConflicts::of(rows.to_vec())
                .map(|conflicts| (conflicts.named.len(), conflicts.more))
        };
        let pairs = ["A", "a", "B", "b", "C", "c", "D", "d", "E", "e", "F"];
        assert_eq!(named(pairs), Some((10, 10)));
        let cut = ["A", "a", "B", "b", "C", "c", "D", "d", "EE", "Ee", "eE"];
        assert_eq!(named(cut), Some((8, 12)));
        // Unless they are the first.
        let all = [
            "AAAA", "AAAa", "AAaA", "AAaa", "AaAA", "AaAa", "AaaA", "Aaaa", "aAAA", "aAAa", "aAaA",
        ];
        assert_eq!(named(all), Some((10, 10)));
    }
}
