//! Which answers are remembered.
//!
//! The invariant: an answer is remembered only if no change of its code was heard since its look-up began. A look-up is
//! in the list of flights from its beginning to its end, and a change of its code takes it off that list. So the answer
//! of a look-up that is not on the list any more goes to its waiters, and no further.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{FutureExt, future::Shared};
use tokio::sync::oneshot;

use super::{
    CacheOptions, CacheUsage,
    memory::{Epoch, Memory, Remembered},
};
use crate::links::{LookUp, ShortCode};

/// What is remembered, and the look-ups under way.
pub(super) struct RedirectCache {
    memory: Memory,
    flights: Mutex<HashMap<ShortCode, UnderWay>>,
    next_number: AtomicU64,
}

/// The answer to a look-up, for any number of callers; an error if the store failed.
pub(super) type Answer = Shared<oneshot::Receiver<LookUp>>;

/// A look-up of a code.
pub(super) enum Flight {
    /// It was under way already: all its callers get the same answer.
    Joined(Answer),
    /// It begins now: the caller has to have it made, by means of the [`Landing`].
    Begun(Answer, Landing),
}

/// A look-up that a caller may join. It owns nothing that takes the lock when it is dropped.
struct UnderWay {
    number: u64,
    answer: Answer,
}

impl RedirectCache {
    pub(super) fn new(options: CacheOptions) -> Self {
        Self {
            memory: Memory::new(options),
            flights: Mutex::default(),
            next_number: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, code: &ShortCode) -> Remembered {
        self.memory.get(code)
    }

    /// Joins the look-up of a code that is under way, or begins one.
    pub(super) fn look_up(self: &Arc<Self>, code: &ShortCode) -> Flight {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(code) {
            return Flight::Joined(flight.answer.clone());
        }
        let (sender, answer) = oneshot::channel();
        let answer = answer.shared();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let flight = UnderWay {
            number,
            answer: answer.clone(),
        };
        flights.insert(code.clone(), flight);
        let landing = Landing {
            cache: self.clone(),
            code: code.clone(),
            number,
            epoch: self.memory.epoch(),
            answer: Some(sender),
        };
        Flight::Begun(answer, landing)
    }

    /// Any code may lead elsewhere now.
    pub(super) fn doubt_everything(&self) {
        self.flights().clear();
        self.memory.doubt_everything();
    }

    /// From now on no change goes unheard.
    pub(super) fn watching(&self) {
        self.memory.set_watching(true);
    }

    /// From now on changes may go unheard.
    pub(super) fn lost_sight(&self) {
        self.memory.set_watching(false);
    }

    /// Forgets a code that leads elsewhere now. A look-up of it that is under way may have read what was before: its
    /// answer goes to its waiters, and is not remembered.
    pub(super) fn forget(&self, code: &ShortCode) {
        let mut flights = self.flights();
        flights.remove(code);
        self.memory.forget(code);
    }

    pub(super) fn usage(&self) -> CacheUsage {
        self.memory.usage()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<ShortCode, UnderWay>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a look-up. Owned by the query, not by the callers, so an answer is remembered even if every caller has left. On
/// drop, with or without an answer, the look-up leaves the list of flights. The drop takes the lock of that list, so
/// never drop this under the lock.
pub(super) struct Landing {
    cache: Arc<RedirectCache>,
    code: ShortCode,
    number: u64,
    /// The epoch in which the look-up began.
    epoch: Epoch,
    answer: Option<oneshot::Sender<LookUp>>,
}

impl Landing {
    /// The code that is looked up.
    pub(super) fn code(&self) -> &ShortCode {
        &self.code
    }

    /// Hands the answer to all callers. Remembers it unless the code has changed since the look-up began.
    pub(super) fn land(mut self, found: LookUp) {
        {
            // Held while the memory takes the answer in: `forget` comes either before, and has removed the flight, or
            // after, and makes the memory forget the answer.
            let flights = self.cache.flights();
            if self.is_listed(&flights) {
                self.cache.memory.remember(&self.code, &found, self.epoch);
            }
        }
        if let Some(answer) = self.answer.take() {
            // Fails if every caller has left.
            let _ = answer.send(found);
        }
    }

    fn is_listed(&self, flights: &HashMap<ShortCode, UnderWay>) -> bool {
        let flight = flights.get(&self.code);
        flight.is_some_and(|flight| flight.number == self.number)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.cache.flights();
        if self.is_listed(&flights) {
            flights.remove(&self.code);
        }
    }
}

#[cfg(test)]
mod tests;
