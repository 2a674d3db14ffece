//! Waiting for conditions, with a bound.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant, SystemTime},
};

/// Long enough for a busy machine, short enough to fail a test that would wait forever.
const BOUND: Duration = Duration::from_secs(60);

/// The time on this machine's wall clock, for tests of times that people choose.
#[allow(
    clippy::disallowed_methods,
    reason = "every server of a test has this clock"
)]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Waits until `condition` returns something, and returns that.
///
/// # Panics
/// If that takes a minute. `what` says in the message what was waited for.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(BOUND, what, condition).await
}

/// Waits until `condition` returns something, which the service promises to happen within `bound`.
///
/// # Panics
/// If it takes longer.
pub async fn within<T>(
    bound: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        let waited = started.elapsed();
        assert!(waited < bound, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Below 32768, where the kernel's ports for outgoing connections begin: no connection takes a port between the moment
/// it is found and the moment a server listens on it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port on which nothing listens. No other call in this process returns the same one.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Two processes begin at ports far apart, even if their process ids are neighbours.
    let offset = (std::process::id().wrapping_mul(499) % u32::from(count)) as u16;
    (0..count)
        .map(|_| PORTS.start + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}
