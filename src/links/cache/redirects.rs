//! Where codes lead, remembered in this process: the redirect cache.
//!
//! | what is remembered | for how long |
//! |---|---|
//! | a link | until it changes, expires, or [`CacheOptions::ttl`] is over |
//! | that there is no such link, or that it is gone | [`CacheOptions::miss_ttl`], or until there is one |
//! | a link whose visits are limited | not at all: each visit must be counted |
//!
//! A link is *fresh* while nothing can have changed unheard: while the store [reports changes](super::LinkStore::watch) and
//! has done so since before the link was looked up. A link that is not fresh any more is *stale*: good enough when the
//! database cannot be asked, and only then.
//!
//! Links and misses are kept apart, so that no number of unknown codes pushes a link out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use quick_cache::{Weighter, sync::Cache};

use super::{Change, Link, LookUp, ShortCode};

/// A URL up to this long counts as one entry, a longer one as several: a bound on entries is a bound on memory.
const BYTES_PER_ENTRY: usize = 256;

/// Misses that are remembered per link that may be.
const MISS_SHARE: usize = 8;

/// How much a cache remembers, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// The most links, at least 1; one whose URL is longer than 256 bytes counts as several.
    pub capacity: usize,
    /// A link is looked up again after this time even if nobody said that it changed.
    pub ttl: Duration,
    /// How long an unknown code is taken to be unknown.
    pub miss_ttl: Duration,
}

/// Where codes lead, as far as is known.
pub(super) struct RedirectCache {
    options: CacheOptions,
    links: Cache<ShortCode, Arc<Entry>, UrlLength>,
    misses: Cache<ShortCode, Miss>,
    /// Look-ups under way. Whoever asks for the same code meanwhile waits for the same answer.
    flights: Mutex<HashMap<ShortCode, Flight>>,
    next_flight: AtomicU64,
    /// Odd while changes are being reported; grows when that begins, ends, or when everything may have changed.
    epoch: AtomicU64,
}

struct Entry {
    url: Box<str>,
    expires_at: Option<Instant>,
    looked_up_at: Instant,
    /// When the look-up began.
    epoch: u64,
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
        entry.url.len().div_ceil(BYTES_PER_ENTRY).max(1) as u64
    }
}

/// What is remembered of a code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// It leads here.
    Fresh(String),
    /// It led here the last time that the store was asked.
    Stale(String, Staleness),
    /// It led somewhere, but no more.
    Gone,
    /// It leads nowhere.
    Unknown,
    /// Nothing.
    Nothing,
}

/// Why a link is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    /// Its time is over, but nobody has said that it changed.
    Old,
    /// It may have changed unheard.
    Doubtful,
}

/// The answer to a look-up; `None` if the store failed.
pub(super) type Answer = Option<LookUp>;

struct Flight {
    number: u64,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl RedirectCache {
    pub(super) fn new(options: CacheOptions) -> Self {
        let misses = options.capacity.div_ceil(MISS_SHARE);
        Self {
            options,
            links: Cache::with_weighter(options.capacity, options.capacity as u64, UrlLength),
            misses: Cache::new(misses),
            flights: Mutex::default(),
            next_flight: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, code: &ShortCode) -> Remembered {
        let now = Instant::now();
        if let Some(entry) = self.links.get(code) {
            let epoch = self.epoch.load(Ordering::Acquire);
            let staleness = if entry.epoch != epoch || !is_watching(epoch) {
                Some(Staleness::Doubtful)
            } else if now.duration_since(entry.looked_up_at) >= self.options.ttl {
                Some(Staleness::Old)
            } else {
                None
            };
            let expired = entry.expires_at.is_some_and(|at| at <= now);
            return match staleness {
                None if expired => Remembered::Gone,
                // Its time may have been prolonged.
                Some(_) if expired => Remembered::Nothing,
                None => Remembered::Fresh(entry.url.to_string()),
                Some(staleness) => Remembered::Stale(entry.url.to_string(), staleness),
            };
        }
        match self.misses.get(code) {
            Some(miss) if now >= miss.until => Remembered::Nothing,
            Some(Miss { gone: true, .. }) => Remembered::Gone,
            Some(Miss { gone: false, .. }) => Remembered::Unknown,
            None => Remembered::Nothing,
        }
    }

    /// The answer to a look-up of `code`: that of the one under way, if there is one, else of the one that `look_up` begins.
    /// It is to be remembered by the [`Landing`].
    pub(super) fn look_up<F>(
        self: &Arc<Self>,
        code: &ShortCode,
        look_up: impl FnOnce(Landing) -> F,
    ) -> Shared<BoxFuture<'static, Answer>>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(code) {
            return flight.answer.clone();
        }
        let number = self.next_flight.fetch_add(1, Ordering::Relaxed);
        let landing = Landing {
            cache: self.clone(),
            code: code.clone(),
            number,
            epoch: self.epoch.load(Ordering::Acquire),
        };
        let answer = look_up(landing).boxed().shared();
        let flight = Flight {
            number,
            answer: answer.clone(),
        };
        flights.insert(code.clone(), flight);
        answer
    }

    /// Takes in that something has changed.
    pub(super) fn changed(&self, change: &Change) {
        match change {
            Change::Link(code) => self.forget(code),
            Change::Everything => {
                self.forget_flights();
                self.epoch.fetch_add(2, Ordering::AcqRel);
                self.misses.clear();
            }
            Change::Watching => {
                let even = |epoch: u64| epoch.is_multiple_of(2).then_some(epoch + 1);
                // Cannot fail but by being odd already.
                let _ = self
                    .epoch
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, even);
            }
        }
    }

    /// From now on changes may go unheard.
    pub(super) fn lost_sight(&self) {
        let odd = |epoch: u64| is_watching(epoch).then_some(epoch + 1);
        let _ = self
            .epoch
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, odd);
    }

    /// Forgets a code that leads elsewhere now. A look-up of it that is under way may have read what was before: its
    /// answer goes to those who wait for it, and no further.
    pub(super) fn forget(&self, code: &ShortCode) {
        let mut flights = self.flights();
        let flight = flights.remove(code);
        self.links.remove(code);
        self.misses.remove(code);
        drop(flights);
        drop(flight);
    }

    /// Whether changes are being heard.
    pub(super) fn is_watching(&self) -> bool {
        is_watching(self.epoch.load(Ordering::Acquire))
    }

    /// Links and misses that are remembered.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.links.len(), self.misses.len())
    }

    /// Nobody joins a look-up any more that has begun before.
    fn forget_flights(&self) {
        let flights = std::mem::take(&mut *self.flights());
        drop(flights);
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<ShortCode, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_watching(epoch: u64) -> bool {
    !epoch.is_multiple_of(2)
}

/// The end of a flight, which it outlives neither in memory nor in the list of those under way. Whoever makes the look-up has
/// it, and not those who wait: an answer that comes after all of them have lost patience is worth remembering, too.
pub(super) struct Landing {
    cache: Arc<RedirectCache>,
    code: ShortCode,
    number: u64,
    epoch: u64,
}

impl Landing {
    /// What is looked up.
    pub(super) fn code(&self) -> &ShortCode {
        &self.code
    }

    /// Takes in the answer, unless the code has changed since the look-up began.
    pub(super) fn remember(&self, answer: &LookUp) {
        // Held while the answer is put in: `forget` comes before, and then the flight is not there any more, or after.
        let flights = self.cache.flights();
        let current = flights.get(&self.code);
        if current.is_none_or(|flight| flight.number != self.number) {
            return;
        }
        let now = Instant::now();
        let RedirectCache {
            options,
            links,
            misses,
            ..
        } = &*self.cache;
        match answer {
            LookUp::Found(Link { limited: true, .. }) => {
                links.remove(&self.code);
                misses.remove(&self.code);
            }
            LookUp::Found(link) => {
                let entry = Entry {
                    url: link.url.as_str().into(),
                    expires_at: link.expires_in.and_then(|left| now.checked_add(left)),
                    looked_up_at: now,
                    epoch: self.epoch,
                };
                misses.remove(&self.code);
                links.insert(self.code.clone(), Arc::new(entry));
            }
            LookUp::Gone | LookUp::Unknown => {
                links.remove(&self.code);
                let miss = Miss {
                    gone: *answer == LookUp::Gone,
                    until: now + options.miss_ttl,
                };
                misses.insert(self.code.clone(), miss);
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.cache.flights();
        let current = flights.get(&self.code);
        if current.is_some_and(|flight| flight.number == self.number) {
            let flight = flights.remove(&self.code);
            // Not under the lock: what the answer comes from may be dropped with it.
            drop(flights);
            drop(flight);
        }
    }
}

#[cfg(test)]
#[path = "redirects/tests.rs"]
mod tests;
