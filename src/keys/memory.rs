//! The good keys that this process remembers.
//!
//! The invariant: a key is believed to work only if no change to keys was heard, and none can have gone unheard, since
//! its look-up began. While changes go unheard nothing is believed and every request asks the store, so a revoked key
//! never lives on in a node that could not hear of it.
//!
//! Keys that do not work are never remembered: no number of guesses pushes a good key out, and a key works as soon as
//! it is made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use super::{FoundKey, KeyHash, VerifiedKey};

/// The most keys that are remembered.
const CAPACITY: usize = 10_000;

/// A key is looked up again after this time even if no change was reported: triggers may be disabled, and a pooler may
/// swallow what they announce.
const TTL: Duration = Duration::from_secs(60);

/// Keys that worked when they were looked up.
pub(super) struct Memory {
    keys: Cache<KeyHash, Entry>,
    epoch: AtomicU64,
    /// How many changes were heard.
    changes: AtomicU64,
}

/// A stretch of time in which no change to keys was heard, and no change began or ceased to go unheard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calm {
    epoch: u64,
    changes: u64,
}

#[cfg(test)]
impl Calm {
    /// One of many that differ, for unit tests.
    pub(crate) fn numbered(number: u64) -> Self {
        Self {
            epoch: 1,
            changes: number,
        }
    }
}

/// The time at which a look-up begins, as far as changes are concerned.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// A stretch of time in which no change goes unheard and none is heard (odd numbers), or in which any change may go
    /// unheard (even numbers).
    epoch: u64,
    changes: u64,
    at: Instant,
}

#[derive(Clone)]
struct Entry {
    key: Arc<VerifiedKey>,
    expires_at: Option<Instant>,
    /// When its look-up began.
    since: Moment,
}

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysUsage {
    /// Keys that worked when they were looked up.
    pub keys: usize,
    /// Whether the changes of others are heard. If not, the store is asked for every key.
    pub watching: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            keys: Cache::new(CAPACITY),
            epoch: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }
}

fn is_watched(epoch: u64) -> bool {
    !epoch.is_multiple_of(2)
}

impl Memory {
    /// The key with this hash, if it certainly works.
    pub(super) fn certain(&self, hash: &KeyHash) -> Option<Arc<VerifiedKey>> {
        let entry = self.keys.get(hash)?;
        let epoch = self.epoch.load(Ordering::Acquire);
        let certain = entry.since.epoch == epoch
            && is_watched(epoch)
            && entry.since.at.elapsed() < TTL
            && !entry.has_expired();
        certain.then_some(entry.key)
    }

    /// The key with this hash, if it worked when the store was asked last, has not expired since, and no change was
    /// heard since. Changes may have gone unheard.
    pub(super) fn last_known(&self, hash: &KeyHash) -> Option<Arc<VerifiedKey>> {
        let entry = self.keys.get(hash)?;
        let unchanged = entry.since.changes == self.changes.load(Ordering::Acquire);
        (unchanged && !entry.has_expired()).then_some(entry.key)
    }

    /// Whether the key with this hash ever worked, and has not been found dead since.
    pub(super) fn was_good(&self, hash: &KeyHash) -> bool {
        self.keys
            .get(hash)
            .is_some_and(|entry| !entry.has_expired())
    }

    /// The stretch of time that it is now.
    pub(super) fn calm(&self) -> Calm {
        let Moment { epoch, changes, .. } = self.moment();
        Calm { epoch, changes }
    }

    /// To be asked before a look-up begins.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            epoch: self.epoch.load(Ordering::Acquire),
            changes: self.changes.load(Ordering::Acquire),
            at: Instant::now(),
        }
    }

    /// Remembers a key that a look-up has found. If a change was heard after `began`, the entry carries a moment before
    /// it, and is never believed: the look-up may have read what was before the change.
    pub(super) fn remember(&self, found: FoundKey, began: Moment) -> Arc<VerifiedKey> {
        let key = Arc::new(found.key);
        let entry = Entry {
            key: key.clone(),
            // From the beginning of the look-up, so a little too early rather than too late.
            expires_at: found.expires_in.and_then(|left| began.at.checked_add(left)),
            since: began,
        };
        self.keys.insert(found.hash, entry);
        key
    }

    /// Forgets a key that does not work.
    pub(super) fn forget(&self, hash: &KeyHash) {
        self.keys.remove(hash);
    }

    /// Notes that any key may have changed: no entry is believed any more. Entries stay, so that a key that was good is
    /// told from a guess.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.epoch.fetch_add(2, Ordering::AcqRel);
    }

    /// From now on all changes are heard, or from now on any may go unheard.
    pub(super) fn set_watching(&self, watching: bool) {
        let next = |epoch| (is_watched(epoch) != watching).then_some(epoch + 1);
        // Fails only if it is so already.
        let _ = self
            .epoch
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    pub(super) fn usage(&self) -> KeysUsage {
        KeysUsage {
            keys: self.keys.len(),
            watching: is_watched(self.epoch.load(Ordering::Acquire)),
        }
    }
}

impl Entry {
    fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::{ApiKey, KeyId, KeyName, Scope},
        owner::Owner,
    };

    fn found(expires_in: Option<Duration>) -> FoundKey {
        FoundKey {
            hash: ApiKey::generate().hash(),
            key: VerifiedKey {
                id: KeyId(1),
                name: KeyName::parse("phone").expect("a name"),
                owner: Owner::default(),
                scopes: Scope::Create.into(),
                quota: None,
            },
            expires_in,
        }
    }

    fn remember(memory: &Memory, found: &FoundKey) {
        memory.remember(found.clone(), memory.moment());
    }

    #[test]
    fn a_key_is_certain_only_while_changes_are_heard() {
        let memory = Memory::default();
        let key = found(None);
        let certain = || memory.certain(&key.hash).is_some();
        remember(&memory, &key);
        assert!(!certain(), "changes are not heard yet");
        memory.set_watching(true);
        assert!(!certain(), "it was looked up before");
        remember(&memory, &key);
        assert!(certain());
        memory.set_watching(true);
        assert!(certain(), "that is no news");
        memory.set_watching(false);
        assert!(!certain());
        remember(&memory, &key);
        assert!(!certain());
        memory.set_watching(true);
        assert!(!certain(), "it may have changed in between");
        assert_eq!(
            memory.usage(),
            KeysUsage {
                keys: 1,
                watching: true
            }
        );
    }

    #[test]
    fn a_change_makes_every_key_uncertain() {
        let memory = Memory::default();
        memory.set_watching(true);
        let key = found(None);
        remember(&memory, &key);
        memory.changed();
        assert!(memory.certain(&key.hash).is_none());
        assert!(memory.last_known(&key.hash).is_none());
        assert!(memory.was_good(&key.hash), "it is no guess");
        remember(&memory, &key);
        assert!(memory.certain(&key.hash).is_some());
        memory.forget(&key.hash);
        assert!(!memory.was_good(&key.hash));
        assert_eq!(memory.usage().keys, 0);
    }

    #[test]
    fn what_a_look_up_read_before_a_change_is_not_believed_after_it() {
        let memory = Memory::default();
        memory.set_watching(true);
        let key = found(None);
        let began = memory.moment();
        memory.changed();
        memory.remember(key.clone(), began);
        assert!(memory.certain(&key.hash).is_none());
        assert!(memory.last_known(&key.hash).is_none());
    }

    #[test]
    fn the_last_known_stays_while_changes_go_unheard() {
        let memory = Memory::default();
        memory.set_watching(true);
        let key = found(None);
        remember(&memory, &key);
        for watching in [false, true] {
            memory.set_watching(watching);
            assert!(memory.certain(&key.hash).is_none());
            assert!(memory.last_known(&key.hash).is_some());
        }
        memory.forget(&key.hash);
        assert!(memory.last_known(&key.hash).is_none());
    }

    #[test]
    fn a_key_that_has_expired_is_none_of_these() {
        let memory = Memory::default();
        memory.set_watching(true);
        for (expires_in, works) in [
            (Duration::ZERO, false),
            (Duration::from_secs(1_000), true),
            (Duration::MAX, true),
        ] {
            let key = found(Some(expires_in));
            remember(&memory, &key);
            assert_eq!(memory.certain(&key.hash).is_some(), works);
            assert_eq!(memory.last_known(&key.hash).is_some(), works);
            assert_eq!(memory.was_good(&key.hash), works);
        }
    }

    #[test]
    fn a_key_is_not_certain_for_longer_than_a_minute() {
        let memory = Memory::default();
        memory.set_watching(true);
        let now = memory.moment();
        for (age, certain) in [(59, true), (60, false)] {
            let key = found(None);
            let at = now.at.checked_sub(Duration::from_secs(age));
            let at = at.expect("this machine has been up for a minute");
            memory.remember(key.clone(), Moment { at, ..now });
            assert_eq!(memory.certain(&key.hash).is_some(), certain, "{age}");
            assert!(memory.last_known(&key.hash).is_some());
        }
    }

    #[test]
    fn no_more_keys_are_remembered_than_there_is_room_for() {
        let memory = Memory::default();
        for _ in 0..CAPACITY + 1_000 {
            remember(&memory, &found(None));
        }
        assert!((1..=CAPACITY).contains(&memory.usage().keys));
    }
}
