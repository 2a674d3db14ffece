//! By how many nodes the quotas are divided while Redis is away.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

/// The number of nodes: as configured, or as counted in Redis last.
#[derive(Debug)]
pub(super) struct Nodes {
    configured: Option<NonZeroU32>,
    /// 0 until they are counted for the first time.
    counted: AtomicU32,
}

impl Nodes {
    /// `configured` is `limiter.nodes`.
    pub(super) fn new(configured: Option<NonZeroU32>) -> Self {
        Self {
            configured,
            counted: AtomicU32::new(0),
        }
    }

    /// Takes in how many nodes beat in Redis.
    pub(super) fn are_counted(&self, nodes: NonZeroU32) {
        self.counted.store(nodes.get(), Ordering::Relaxed);
    }

    /// The number, or `None` if it is neither configured nor counted yet.
    pub(super) fn known(&self) -> Option<NonZeroU32> {
        let counted = NonZeroU32::new(self.counted.load(Ordering::Relaxed));
        self.configured.or(counted)
    }

    /// The number. 1 if it is not known: the node counts alone.
    pub(super) fn number(&self) -> NonZeroU32 {
        self.known().unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_wins_and_what_was_counted_last_is_kept() {
        let [one, two, three] = [1, 2, 3].map(|number| NonZeroU32::new(number).expect("not 0"));
        let nodes = Nodes::new(None);
        assert_eq!((nodes.known(), nodes.number()), (None, one));
        nodes.are_counted(three);
        assert_eq!((nodes.known(), nodes.number()), (Some(three), three));
        nodes.are_counted(two);
        assert_eq!(nodes.number(), two);

        let nodes = Nodes::new(Some(three));
        assert_eq!(nodes.known(), Some(three));
        nodes.are_counted(two);
        assert_eq!(nodes.number(), three);
    }
}
