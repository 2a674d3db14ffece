//! How long a key works.

use std::{str::FromStr, time::Duration};

/// The longest life, in seconds: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;

/// How long a key works after it was made or rotated: 1 second to 10 years, in whole seconds. Parsed from a duration
/// such as `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(u64);

/// The text is no such duration.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a duration like `90d`, from 1 second to 10 years")]
pub struct InvalidLife;

impl Life {
    /// A life of this length. A part of a second is left out.
    ///
    /// # Errors
    /// [`InvalidLife`] if it is shorter than a second or longer than ten years.
    pub fn new(length: Duration) -> Result<Self, InvalidLife> {
        let seconds = length.as_secs();
        let valid = (1..=MAX_SECONDS).contains(&seconds);
        valid.then_some(Self(seconds)).ok_or(InvalidLife)
    }

    /// The length in seconds, as stores keep it.
    pub(super) fn seconds(self) -> i64 {
        // At most ten years: always fits.
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl FromStr for Life {
    type Err = InvalidLife;

    fn from_str(text: &str) -> Result<Self, InvalidLife> {
        let length = humantime::parse_duration(text.trim()).map_err(|_| InvalidLife)?;
        Self::new(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_between_a_second_and_ten_years() {
        for (text, seconds) in [
            ("1s", 1),
            ("1500ms", 1),
            ("90d", 90 * 86_400),
            (" 1h 30m ", 5_400),
            ("3660days", 10 * 366 * 86_400),
        ] {
            assert_eq!(
                text.parse::<Life>().map(Life::seconds),
                Ok(seconds),
                "{text}"
            );
        }
        for text in [
            "",
            "0s",
            "999ms",
            "3661days",
            "90",
            "-1d",
            "soon",
            "99999999999999999999d",
        ] {
            assert_eq!(text.parse::<Life>(), Err(InvalidLife), "{text}");
        }
    }
}
