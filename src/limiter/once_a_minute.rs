//! Log lines about what may happen with every request.

use std::sync::atomic::{AtomicI64, Ordering};

use super::boot_clock::BootClock;

const MINUTE: i64 = 60_000_000;

/// Says when a line that may be due with every request is to be written: once a minute.
#[derive(Debug)]
pub(super) struct OnceAMinute {
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
    /// `true` for one caller a minute.
    pub(super) fn is_due(&self) -> bool {
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
    fn one_caller_a_minute_may_speak() {
        let line = OnceAMinute::default();
        let due: Vec<i64> = (0..300)
            .map(|second| second * 1_000_000)
            .filter(|&now| line.is_due_at(now))
            .collect();
        assert_eq!(due, [0, 60, 120, 180, 240].map(|second| second * 1_000_000));
    }
}
