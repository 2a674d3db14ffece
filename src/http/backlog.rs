//! What all connections together may have waiting, beyond the little that each may have for itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// For all connections of a node: 64 MiB.
const LIMIT: usize = 64 * 1024 * 1024;

/// Memory for requests and answers that are larger than usual, or wait longer: one bound for a whole node, so that it does
/// not grow with the number of connections.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
}

/// What one connection has of it.
pub(super) struct Share {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Backlog {
    /// Nothing of it, at first.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share {
            backlog: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// Makes room for `bytes` in all. `false` if there is none left.
    pub(super) fn cover(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else {
            return true;
        };
        let before = self.backlog.bytes.fetch_add(more, Ordering::Relaxed);
        self.bytes = bytes;
        before + more <= LIMIT
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) {
        if self.bytes > 0 {
            self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            self.bytes = 0;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_connection_gives_back_another_may_have() {
        let backlog = Arc::<Backlog>::default();
        let (mut first, mut second) = (backlog.share(), backlog.share());
        assert!(first.cover(LIMIT - 10));
        assert!(first.cover(10), "less than it has");
        assert!(second.cover(10));
        assert!(!second.cover(11));
        drop(second);
        let mut third = backlog.share();
        assert!(third.cover(10));
        first.release();
        assert!(third.cover(LIMIT));
        third.release();
        assert_eq!(backlog.bytes.load(Ordering::Relaxed), 0);
    }
}
