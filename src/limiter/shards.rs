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
        // The upper bits: hash tables inside use the lower ones.
        lock(&self.shards[(hash >> 48) as usize % SHARDS])
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
