//! How long this machine has been up.

use uapi::c;

/// Counts from its creation, by `CLOCK_BOOTTIME`.
///
/// This clock cannot be set, and it goes on while the machine is suspended. [`std::time::Instant`] stands still
/// meanwhile, and would make a window longer by that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootClock {
    origin: i64,
}

impl BootClock {
    pub(super) fn new() -> Self {
        Self { origin: read() }
    }

    /// Microseconds since this value was made.
    pub(super) fn micros(&self) -> i64 {
        read() - self.origin
    }
}

fn read() -> i64 {
    let mut time = c::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Fails only where the clock does not exist, which is before Linux 2.6.39.
    let _ = uapi::clock_gettime(c::CLOCK_BOOTTIME, &mut time);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_counts_microseconds() {
        let (clock, started) = (BootClock::new(), Instant::now());
        while started.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        let micros = clock.micros();
        assert!(micros >= 3_000, "{micros}");
        let elapsed = i64::try_from(started.elapsed().as_micros()).expect("small");
        assert!(micros <= elapsed + 10_000, "{micros} of {elapsed}");
    }
}
