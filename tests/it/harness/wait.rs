//! Waiting for conditions, with a bound.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// Long enough for a slow machine, short enough to fail a test that would wait forever.
const BOUND: Duration = Duration::from_secs(30);

/// Waits until `condition` returns something.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < BOUND, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
