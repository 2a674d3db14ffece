//! A map in several parts, each behind a lock of its own, so that worker threads rarely meet at one.

use std::{
    hash::{BuildHasher, Hash},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashlink::DefaultHashBuilder;

/// How many parts there are. A power of two.
pub(super) const SHARDS: usize = 16;

/// [`SHARDS`] parts; a key says which.
#[derive(Debug, Default)]
pub(super) struct Shards<T> {
    shards: [Mutex<T>; SHARDS],
    hasher: DefaultHashBuilder,
}

impl<T> Shards<T> {
    /// The part that `key` belongs to.
    pub(super) fn of(&self, key: &impl Hash) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(key);
        // The hasher is fast, and with some seeds its upper bits hardly differ between neighbours. This brings all bits into the
        // upper ones (Fibonacci hashing: 2^64 over the golden ratio); hash tables inside use the lower ones.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        lock(&self.shards[(mixed >> 48) as usize % SHARDS])
    }

    /// One after the other, each locked when its turn comes.
    pub(super) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

/// A panic while the lock was held leaves a log that is at worst short of an entry: still usable.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::limiter::ClientId;

    #[test]
    fn neighbours_are_spread_over_all_shards_whatever_the_seed() {
        for _ in 0..500 {
            let shards = Shards::<usize>::default();
            for number in 0..3_200_u32 {
                let client = ClientId::new(Ipv4Addr::from_bits(number).into(), 64);
                *shards.of(&client) += 1;
            }
            let sizes: Vec<usize> = shards.all().map(|shard| *shard).collect();
            assert!(
                sizes.iter().all(|size| (100..=300).contains(size)),
                "{sizes:?}"
            );
        }
    }
}
