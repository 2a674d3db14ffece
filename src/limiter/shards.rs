//! A map in several parts, each behind a lock of its own, so that worker threads rarely wait for each other.

use std::{
    hash::{BuildHasher, Hash},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashlink::DefaultHashBuilder;

/// The number of parts; a power of two.
pub(super) const SHARDS: usize = 16;

/// [`SHARDS`] parts. A key belongs to one of them.
#[derive(Debug, Default)]
pub(super) struct Shards<T> {
    shards: [Mutex<T>; SHARDS],
    hasher: DefaultHashBuilder,
}

impl<T> Shards<T> {
    /// The part that `key` belongs to.
    pub(super) fn of(&self, key: &impl Hash) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(key);
        // With some seeds, the upper bits of this fast hasher hardly differ between neighbours. Fibonacci hashing (2^64
        // over the golden ratio) spreads all bits over the upper ones. Hash tables inside of a part use the lower ones.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        lock(&self.shards[(mixed >> 48) as usize % SHARDS])
    }

    /// All parts, one after the other. Each is locked when its turn comes.
    pub(super) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

/// Ignores that a thread panicked while it held the lock: at worst, a log then lacks one entry, and can still be used.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::limiter::ClientId;

    #[test]
    fn neighbours_are_spread_over_all_shards_with_any_seed() {
        for _ in 0..500 {
            let shards = Shards::<usize>::default();
            for number in 0..3_200_u32 {
                let client = ClientId::new(Ipv4Addr::from_bits(number).into(), 64);
                *shards.of(&client) += 1;
            }
            let sizes: Vec<usize> = shards.all().map(|shard| *shard).collect();
            assert_eq!(sizes.iter().sum::<usize>(), 3_200, "no shard is left out");
            assert!(
                sizes.iter().all(|size| (100..=300).contains(size)),
                "{sizes:?}"
            );
        }
    }
}
