//! Waiting for conditions, with a bound.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// Long enough for a slow machine, short enough to fail a test that would wait forever.
const BOUND: Duration = Duration::from_secs(30);

/// Waits until `condition` returns something.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(BOUND, what, condition).await
}

/// Waits until `condition` returns something, which is promised to be soon.
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

/// Ports that the kernel gives to nobody by itself (it begins at 32768), so that no connection takes one between here and
/// the server that is to listen on it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody listens on, and that no other test is told.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Two runs at once begin at different places, far apart also if their process ids are not.
    let offset = (std::process::id().wrapping_mul(499) % u32::from(count)) as u16;
    (0..count)
        .map(|_| PORTS.start + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}
