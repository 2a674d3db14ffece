//! The sliding-window log, pure: time is an argument, nothing here waits or locks.

use std::{
    collections::VecDeque,
    ops::{Add, Sub},
    time::Duration,
};

use super::Quota;

/// A moment on a store's clock, in microseconds.
///
/// Each store chooses its origin, so only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogTime(i64);

impl LogTime {
    /// The moment `micros` microseconds after the store's origin.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the store's origin.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

impl Add<Duration> for LogTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for LogTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl Sub for LogTime {
    type Output = Duration;

    /// The time since `earlier`. Zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// What the window log says of the request that was just logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request is within the quota.
    pub admitted: bool,
    /// How many more requests would be admitted at this moment.
    pub remaining: u32,
    /// How long until more would be admitted: until the entry that decides leaves the window. At most a window.
    ///
    /// After a refusal, a client that stays quiet has to wait exactly so long.
    pub reset_after: Duration,
}

impl Decision {
    /// The decision about a request that was logged at `now`. The log then holds `logged` entries.
    ///
    /// `oldest` and `second_oldest` are the first two entries of the log once it is trimmed to the newest L + 1. A
    /// client is admitted again once its L-th newest entry has left the window. After a refusal, the log has L + 1
    /// entries, so this is the second. (Once only the oldest has left, L entries remain, and the client's next request
    /// would be one too many.) Otherwise it is the first.
    pub(super) fn from_log(
        quota: Quota,
        now: LogTime,
        logged: u64,
        oldest: LogTime,
        second_oldest: Option<LogTime>,
    ) -> Self {
        let limit = u64::from(quota.limit());
        let admitted = logged <= limit;
        let deciding = match second_oldest {
            Some(second) if !admitted => second,
            _ => oldest,
        };
        Self {
            admitted,
            remaining: u32::try_from(limit.saturating_sub(logged)).unwrap_or(u32::MAX),
            // An entry may be a little ahead of `now`, because nodes do not measure the time quite exactly.
            reset_after: (deciding.min(now) + quota.window()) - now,
        }
    }

    /// Admits what both admit.
    pub(super) fn and(self, other: Self) -> Self {
        let remaining = self.remaining.min(other.remaining);
        let (refuses, other) = if self.admitted {
            (other, self)
        } else {
            (self, other)
        };
        if refuses.admitted == other.admitted {
            let reset_after = refuses.reset_after.max(other.reset_after);
            Self {
                remaining,
                reset_after,
                ..refuses
            }
        } else {
            refuses
        }
    }

    /// [`reset_after`](Self::reset_after) in whole seconds, rounded up so that it is never early. At least 1 after a
    /// refusal.
    pub fn reset_seconds(&self) -> u64 {
        let seconds = self.reset_after.as_micros().div_ceil(1_000_000) as u64;
        seconds.max(u64::from(!self.admitted))
    }
}

/// An entry of a window log that several nodes write.
///
/// Its member is chosen once, so that an entry that is written twice counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEntry {
    /// When the request arrived.
    pub(super) at: LogTime,
    /// What tells it from others of the same time.
    pub(super) member: i32,
}

/// The arrival times of one client's recent requests: at most L + 1 of them, oldest first.
#[derive(Debug, Default)]
pub struct WindowLog {
    entries: VecDeque<LogTime>,
}

impl WindowLog {
    /// Logs a request that arrived at `now` and decides it.
    ///
    /// Drops entries at or before `now − W`, and keeps only the newest L + 1: an older one can change no decision,
    /// because L + 1 newer ones refuse already.
    pub fn record(&mut self, quota: Quota, now: LogTime) -> Decision {
        // Invariant: entries are sorted. Arrivals are nearly always in order, and then this is a push.
        let position = self.entries.partition_point(|&entry| entry <= now);
        self.entries.insert(position, now);

        let cutoff = LogTime(now.0.saturating_sub(quota.window_micros()));
        while self.entries.front().is_some_and(|&entry| entry <= cutoff) {
            self.entries.pop_front();
        }
        let keep = quota.limit() as usize + 1;
        while self.entries.len() > keep {
            self.entries.pop_front();
        }
        Decision::from_log(
            quota,
            now,
            self.entries.len() as u64,
            self.entries.front().copied().unwrap_or(now),
            self.entries.get(1).copied(),
        )
    }

    /// When the newest request arrived, if any was logged.
    pub(super) fn newest(&self) -> Option<LogTime> {
        self.entries.back().copied()
    }

    /// The number of entries: at most L + 1.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no request was ever logged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes of heap the entries occupy.
    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<LogTime>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_waits_a_second_at_least() {
        let at_once = |admitted| Decision {
            admitted,
            remaining: 0,
            reset_after: Duration::ZERO,
        };
        assert_eq!(at_once(false).reset_seconds(), 1);
        assert_eq!(at_once(true).reset_seconds(), 0);
    }

    /// `(arrives at, admitted, remaining, seconds until reset)`, in milliseconds and seconds: the
    /// table reads like the specification of "3 per 10 s".
    #[test]
    fn three_in_ten_seconds() {
        let quota: Quota = "3/10s".parse().expect("a quota");
        let mut log = WindowLog::default();
        assert!(log.is_empty());
        for (millis, admitted, remaining, reset) in [
            (0, true, 2, 10),
            (1_000, true, 1, 9),
            (1_000, true, 0, 9),   // the same instant twice is two requests
            (2_000, false, 0, 9), // 0,1,1,2: quiet, it is admitted once 1 (the 3rd newest) leaves: 11
            (9_999, false, 0, 2), // 1,1,2,9.999: 1 leaves at 11
            (10_999, false, 0, 2), // 1,2,9.999,10.999: 2 leaves at 12
            (12_000, true, 0, 8), // (2, 12]: 9.999, 10.999, 12; 9.999 leaves at 19.999
            (19_998, false, 0, 2), // 9.999 is still in; the third newest is 10.999
            (20_999, true, 0, 2), // (10.999, 20.999]: 12, 19.998, 20.999; 12 leaves at 22
            (60_000, true, 2, 10),
        ] {
            let decision = log.record(quota, LogTime::from_micros(millis * 1000));
            assert_eq!(
                (decision.admitted, decision.remaining),
                (admitted, remaining),
                "at {millis} ms"
            );
            assert_eq!(decision.reset_seconds(), reset, "reset at {millis} ms");
        }
        assert!(!log.is_empty());
    }

    #[test]
    fn the_promised_moment_is_exact_to_the_microsecond() {
        let quota: Quota = "2/10s".parse().expect("a quota");
        let logged = |times: &[i64]| {
            let mut log = WindowLog::default();
            let mut last = None;
            for &time in times {
                last = Some(log.record(quota, LogTime::from_micros(time)));
            }
            last.expect("at least one request")
        };
        let refused = logged(&[0, 5, 7]);
        assert!(!refused.admitted);
        let promised = 7 + i64::try_from(refused.reset_after.as_micros()).expect("small");
        assert!(!logged(&[0, 5, 7, promised - 1]).admitted);
        assert!(logged(&[0, 5, 7, promised]).admitted);
    }

    proptest::proptest! {
        /// Requests come in any order, and others are logged as far ahead as a broken clock may put them.
        #[test]
        fn no_client_is_told_to_wait_for_longer_than_a_window(
            limit in 1..5_u32,
            times in proptest::collection::vec(-7_200_000_000..7_200_000_000_i64, 1..40),
        ) {
            let quota = Quota::new(limit, Duration::from_secs(60)).expect("a quota");
            let mut log = WindowLog::default();
            for time in times {
                let decision = log.record(quota, LogTime::from_micros(time));
                proptest::prop_assert!(decision.reset_after <= quota.window());
                proptest::prop_assert!(decision.reset_seconds() <= 60);
            }
        }
    }

    #[test]
    fn a_limit_of_one_waits_for_the_newest_entry() {
        let quota: Quota = "1/10s".parse().expect("a quota");
        let mut log = WindowLog::default();
        assert!(log.record(quota, LogTime::from_micros(0)).admitted);
        let refused = log.record(quota, LogTime::from_micros(4_000_000));
        assert_eq!(refused.reset_after, Duration::from_secs(10));
    }

    #[test]
    fn hammering_keeps_no_more_than_one_entry_over_the_limit() {
        let quota: Quota = "10/minute".parse().expect("a quota");
        let mut log = WindowLog::default();
        for time in 0..10_000 {
            log.record(quota, LogTime::from_micros(time));
        }
        assert_eq!(log.len(), 11);
    }
}
