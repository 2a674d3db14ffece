//! Log lines that any request may cause.

use std::sync::atomic::{AtomicI64, Ordering};

use super::boot_clock::BootClock;

const MINUTE: i64 = 60_000_000;

/// Lets a log line that any request may cause pass once a minute.
#[derive(Debug)]
pub struct OnceAMinute {
    clock: BootClock,
    next: AtomicI64,
}

impl Default for OnceAMinute {
    fn default() -> Self {
        Self {
            clock: BootClock::new(),
            next: AtomicI64::new(i64::MIN),
        }
    }
}

impl OnceAMinute {
    /// Returns `true` to one caller a minute.
    pub fn is_due(&self) -> bool {
        self.is_due_at(self.clock.micros())
    }

    fn is_due_at(&self, now: i64) -> bool {
        let due = |next| (now >= next).then_some(now + MINUTE);
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_a_minute_may_log() {
        let line = OnceAMinute::default();
        let due: Vec<i64> = (0..300)
            .map(|second| second * 1_000_000)
            .filter(|&now| line.is_due_at(now))
            .collect();
        assert_eq!(due, [0, 60, 120, 180, 240].map(|second| second * 1_000_000));
    }

    #[test]
    fn a_minute_begins_with_the_last_line() {
        let line = OnceAMinute::default();
        for (second, due) in [
            (0, true),
            (1, false),
            (59, false),
            (60, true),
            (119, false),
            (121, true),
        ] {
            assert_eq!(line.is_due_at(second * 1_000_000), due, "{second}");
        }
    }
}
