//! `10/minute`: requests per window.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// The largest limit a quota may have.
///
/// It bounds memory, because a window log holds up to `limit + 1` entries: in process, a client at this limit costs
/// about 8 MB.
const MAX_LIMIT: u32 = 1_000_000;

/// The longest window a quota may have: 366 days.
const MAX_WINDOW: Duration = Duration::from_secs(366 * 86_400);

/// The shortest window. Below a millisecond, network jitter would decide rather than the limiter.
const MIN_WINDOW: Duration = Duration::from_millis(1);

/// At most [`limit`](Self::limit) requests in any [`window`](Self::window).
///
/// Parsed from `10/minute`, `10 per minute`, `5/10s`, `100/hour`, `20 per 5 minutes`; units are
/// `ms`, `s`, `m`, `h`, `d` and their English names, singular or plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: NonZeroU32,
    window: Duration,
}

/// Why a text is not a [`Quota`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidQuota {
    /// Not of the form `<limit>/<window>` or `<limit> per <window>`.
    #[error("not a quota; write it as `10/minute`, `10 per minute` or `5/10s`")]
    Form,
    /// The limit is 0 or above 1,000,000.
    #[error("the limit of a quota is between 1 and {MAX_LIMIT}")]
    Limit,
    /// The window is shorter than 1 ms or longer than 366 days.
    #[error("the window of a quota is between 1 millisecond and 366 days")]
    Window,
}

impl Quota {
    /// A quota of `limit` requests (1 to 1,000,000) in `window` (1 ms to 366 days).
    ///
    /// # Errors
    /// [`InvalidQuota::Limit`] or [`InvalidQuota::Window`] outside of those ranges.
    pub fn new(limit: u32, window: Duration) -> Result<Self, InvalidQuota> {
        let limit = NonZeroU32::new(limit)
            .filter(|limit| limit.get() <= MAX_LIMIT)
            .ok_or(InvalidQuota::Limit)?;
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
            return Err(InvalidQuota::Window);
        }
        Ok(Self { limit, window })
    }

    /// One request per second.
    pub(super) const fn one_per_second() -> Self {
        Self {
            limit: NonZeroU32::MIN,
            window: Duration::from_secs(1),
        }
    }

    /// How many requests the window admits; at least 1.
    pub fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// How long a request counts.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The window in microseconds, the unit of [`LogTime`](super::LogTime).
    pub(super) fn window_micros(&self) -> i64 {
        // At most 366 days, about 3.2e13 µs: always fits.
        i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX)
    }

    /// The window in whole seconds, rounded up, where milliseconds cannot be written.
    pub fn window_seconds(&self) -> u64 {
        self.window.as_millis().div_ceil(1000) as u64
    }
}

impl FromStr for Quota {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (limit, window) = text
            .split_once('/')
            .or_else(|| text.split_once(" per "))
            .ok_or(InvalidQuota::Form)?;
        let limit = limit.trim();
        if limit.is_empty() || !limit.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidQuota::Form);
        }
        let limit = limit.parse().map_err(|_| InvalidQuota::Limit)?;

        let window = window.trim();
        let digits = window
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(InvalidQuota::Form)?;
        let (count, unit) = window.split_at(digits);
        let count: u64 = match count {
            "" => 1,
            count => count.parse().map_err(|_| InvalidQuota::Window)?,
        };
        let unit_millis: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err(InvalidQuota::Form),
        };
        let millis = count.checked_mul(unit_millis).ok_or(InvalidQuota::Window)?;
        Self::new(limit, Duration::from_millis(millis))
    }
}

/// The short form. It parses back to the same quota.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.window.as_millis();
        let named = [
            (86_400_000, "day", "d"),
            (3_600_000, "hour", "h"),
            (60_000, "minute", "m"),
            (1_000, "second", "s"),
            (1, "ms", "ms"),
        ];
        let (unit, name, short) = named
            .into_iter()
            .find(|(unit, ..)| millis.is_multiple_of(*unit))
            .unwrap_or((1, "ms", "ms"));
        match millis / unit {
            1 => write!(f, "{}/{name}", self.limit),
            count => write!(f, "{}/{count}{short}", self.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_parse() {
        for (text, limit, millis) in [
            ("10/minute", 10, 60_000),
            ("10 per minute", 10, 60_000),
            ("5/10s", 5, 10_000),
            ("100/hour", 100, 3_600_000),
            ("1/day", 1, 86_400_000),
            ("20 per 5 minutes", 20, 300_000),
            (" 3 / 250ms ", 3, 250),
            ("7/1 h", 7, 3_600_000),
            // At the bounds.
            ("1/ms", 1, 1),
            ("1000000/366d", 1_000_000, 31_622_400_000),
        ] {
            let quota: Quota = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (quota.limit(), quota.window().as_millis()),
                (limit, millis),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for text in [
            "",
            "10",
            "/minute",
            "10/",
            "ten/minute",
            "10/fortnight",
            "10/60",
            "-1/s",
            "1.5/s",
            "10//s",
            "+5/s",
            "10 minute",
            "1e3/s",
            "10/minute/2",
        ] {
            assert!(
                matches!(text.parse::<Quota>(), Err(InvalidQuota::Form)),
                "{text:?} gave {:?}",
                text.parse::<Quota>()
            );
        }
        for text in ["0/minute", "1000001/minute", "99999999999999999999/s"] {
            assert_eq!(text.parse::<Quota>(), Err(InvalidQuota::Limit), "{text}");
        }
        for text in [
            "1/0s",
            "1/367d",
            "1/99999999999999999999s",
            "1/18446744073709551615d",
        ] {
            assert_eq!(text.parse::<Quota>(), Err(InvalidQuota::Window), "{text}");
        }
    }

    #[test]
    fn what_is_printed_parses_back() {
        for text in [
            "10/minute",
            "5/10s",
            "100/hour",
            "3/250ms",
            "2/90s",
            "1/day",
        ] {
            let quota: Quota = text.parse().expect(text);
            assert_eq!(quota.to_string(), text);
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        let quota: Quota = "1/1500ms".parse().expect("a quota");
        assert_eq!(quota.window_seconds(), 2);
    }
}
