//! What is remembered of codes, and whether it may be believed.
//!
//! Links and misses are kept apart, so that no number of unknown codes pushes a link out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync::Cache};

use super::{CacheOptions, CacheUsage};
use crate::links::{Destination, Link, LockedLink, LookUp, Manner, PasswordHash, ShortCode};

/// A URL up to this long counts as one entry, a longer one as several: a bound on entries is a bound on memory.
pub(super) const BYTES_PER_ENTRY: usize = 256;

/// How many links may be remembered for each miss that may be remembered.
pub(super) const MISS_SHARE: usize = 8;

/// Where codes lead, as far as is known.
pub(super) struct Memory {
    options: CacheOptions,
    links: Cache<ShortCode, Arc<Entry>, UrlLength>,
    misses: Cache<ShortCode, Miss>,
    epoch: AtomicU64,
}

/// A stretch of time in which no change goes unheard (odd numbers), or in which any change may (even numbers). Another
/// one begins when changes begin to be reported, when they are no longer reported, and when everything may have
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Epoch {
    fn is_watched(self) -> bool {
        !self.0.is_multiple_of(2)
    }
}

struct Entry {
    url: Box<str>,
    manner: Manner,
    /// What most links do not have.
    rare: Option<Box<Rare>>,
    expires_at: Option<Instant>,
    looked_up_at: Instant,
    /// The epoch in which the look-up began.
    epoch: Epoch,
}

struct Rare {
    /// Where the link leads once it has expired.
    fallback: Option<Box<str>>,
    /// What a visitor has to know before it leads anywhere.
    password: Option<PasswordHash>,
}

#[derive(Clone)]
struct Miss {
    gone: bool,
    until: Instant,
}

#[derive(Clone)]
struct UrlLength;

impl Weighter<ShortCode, Arc<Entry>> for UrlLength {
    fn weight(&self, _: &ShortCode, entry: &Arc<Entry>) -> u64 {
        let rare = entry.rare.as_ref().map_or(0, |rare| rare.length());
        (entry.url.len() + rare).div_ceil(BYTES_PER_ENTRY).max(1) as u64
    }
}

/// What is remembered of a code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// It leads here.
    Fresh(Destination),
    /// It led here when the store was asked last.
    Stale(Destination, Staleness),
    /// It leads those somewhere who know a password; or did so when the store was asked last.
    Locked(Box<LockedLink>, Option<Staleness>),
    /// It led somewhere; now it has expired or is used up, and leads here.
    FallsBack(String),
    /// It led somewhere; now it has expired or is used up.
    Gone,
    /// It leads nowhere.
    Unknown,
    /// Nothing.
    Nothing,
}

/// Why a link is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::links) enum Staleness {
    /// It is older than [`CacheOptions::ttl`], but no change of it was reported.
    Old,
    /// It may have changed unheard.
    Doubtful,
}

impl Entry {
    fn destination(&self, now: Instant) -> Destination {
        Destination {
            url: self.url.to_string(),
            manner: self.manner,
            expires_in: self.expires_in(now),
        }
    }

    fn expires_in(&self, now: Instant) -> Option<Duration> {
        self.expires_at.map(|at| at.duration_since(now))
    }

    fn fallback(&self) -> Option<&str> {
        self.rare.as_ref()?.fallback.as_deref()
    }

    /// What is remembered of a link that has not expired.
    fn remembered(&self, now: Instant, staleness: Option<Staleness>) -> Remembered {
        if let Some(rare) = &self.rare
            && let Some(password) = &rare.password
        {
            let locked = LockedLink {
                password: password.clone(),
                link: Link {
                    url: self.url.to_string(),
                    manner: self.manner,
                    fallback: rare.fallback.as_deref().map(str::to_owned),
                    // Such links are not remembered.
                    limited: false,
                    password: None,
                    expires_in: self.expires_in(now),
                },
            };
            return Remembered::Locked(Box::new(locked), staleness);
        }
        match staleness {
            None => Remembered::Fresh(self.destination(now)),
            Some(staleness) => Remembered::Stale(self.destination(now), staleness),
        }
    }
}

impl Rare {
    /// `None` if the link has none of it.
    fn of(fallback: Option<&str>, password: Option<&PasswordHash>) -> Option<Box<Self>> {
        let has_any = fallback.is_some() || password.is_some();
        has_any.then(|| {
            Box::new(Self {
                fallback: fallback.map(Box::from),
                password: password.cloned(),
            })
        })
    }

    /// In bytes.
    fn length(&self) -> usize {
        let fallback = self.fallback.as_ref().map_or(0, |url| url.len());
        let password = self.password.as_ref();
        fallback + password.map_or(0, |hash| hash.as_str().len())
    }
}

impl Memory {
    pub(super) fn new(options: CacheOptions) -> Self {
        let misses = options.capacity.div_ceil(MISS_SHARE);
        Self {
            options,
            links: Cache::with_weighter(options.capacity, options.capacity as u64, UrlLength),
            misses: Cache::new(misses),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, code: &ShortCode) -> Remembered {
        let now = Instant::now();
        if let Some(entry) = self.links.get(code) {
            let epoch = self.epoch();
            let staleness = if entry.epoch != epoch || !epoch.is_watched() {
                Some(Staleness::Doubtful)
            } else if now.duration_since(entry.looked_up_at) >= self.options.ttl {
                Some(Staleness::Old)
            } else {
                None
            };
            let expired = entry.expires_at.is_some_and(|at| at <= now);
            return match staleness {
                None if expired => match entry.fallback() {
                    Some(url) => Remembered::FallsBack(url.to_string()),
                    None => Remembered::Gone,
                },
                // Its expiry may have been moved.
                Some(_) if expired => Remembered::Nothing,
                staleness => entry.remembered(now, staleness),
            };
        }
        match self.misses.get(code) {
            Some(miss) if now >= miss.until => Remembered::Nothing,
            Some(Miss { gone: true, .. }) => Remembered::Gone,
            Some(Miss { gone: false, .. }) => Remembered::Unknown,
            None => Remembered::Nothing,
        }
    }

    /// Remembers the answer to a look-up that began in `epoch`.
    pub(super) fn remember(&self, code: &ShortCode, answer: &LookUp, epoch: Epoch) {
        let now = Instant::now();
        match answer {
            LookUp::Found(Link { limited: true, .. }) => self.forget(code),
            LookUp::Found(link) => {
                let entry = Entry {
                    url: link.url.as_str().into(),
                    manner: link.manner,
                    rare: Rare::of(link.fallback.as_deref(), link.password.as_ref()),
                    expires_at: link.expires_in.and_then(|left| now.checked_add(left)),
                    looked_up_at: now,
                    epoch,
                };
                self.misses.remove(code);
                self.links.insert(code.clone(), Arc::new(entry));
            }
            // As a link that has just expired: the bound on misses leaves no room for URLs.
            LookUp::FallsBack(url) => {
                let entry = Entry {
                    url: Box::default(),
                    manner: Manner::default(),
                    rare: Rare::of(Some(url), None),
                    expires_at: Some(now),
                    looked_up_at: now,
                    epoch,
                };
                self.misses.remove(code);
                self.links.insert(code.clone(), Arc::new(entry));
            }
            LookUp::Gone | LookUp::Unknown => {
                self.remember_miss(code, answer, self.options.miss_ttl);
            }
            LookUp::NotStarted(left) => {
                self.remember_miss(code, answer, self.options.miss_ttl.min(*left));
            }
        }
    }

    fn remember_miss(&self, code: &ShortCode, answer: &LookUp, time: Duration) {
        self.links.remove(code);
        let miss = Miss {
            gone: *answer == LookUp::Gone,
            until: Instant::now() + time,
        };
        self.misses.insert(code.clone(), miss);
    }

    pub(super) fn forget(&self, code: &ShortCode) {
        self.links.remove(code);
        self.misses.remove(code);
    }

    /// Everything may have changed: links become doubtful, misses are forgotten.
    pub(super) fn doubt_everything(&self) {
        self.epoch.fetch_add(2, Ordering::AcqRel);
        self.misses.clear();
    }

    /// From now on all changes are heard, or from now on any may go unheard.
    pub(super) fn set_watching(&self, watching: bool) {
        let next = |epoch| (Epoch(epoch).is_watched() != watching).then_some(epoch + 1);
        // Fails only if it is so already.
        let _ = self
            .epoch
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn usage(&self) -> CacheUsage {
        CacheUsage {
            links: self.links.len(),
            misses: self.misses.len(),
            watching: self.epoch().is_watched(),
        }
    }
}
