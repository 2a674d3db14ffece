//! Places in a queue of which no client and no link can take all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PasswordHash;

/// The most places of one client, and the most for one link.
pub(super) const EACH: usize = 4;

/// What a request takes a place for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// The client that has sent it, by its name.
    Client(Box<str>),
    /// The link that it is about, by the hash of its password.
    Link(PasswordHash),
}

/// The places of one queue.
pub(super) struct Places {
    free: Arc<Semaphore>,
    held: Arc<Held>,
}

/// How many places each holder has; none has zero. So there are at most two for each place.
#[derive(Default)]
struct Held(Mutex<HashMap<Holder, usize>>);

/// A place; given back on drop.
pub struct Place {
    holders: Vec<Holder>,
    held: Arc<Held>,
    _free: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            held: Arc::default(),
        }
    }

    /// A place that counts for each of `holders`. `None` if there is none, or if one of them has [`EACH`] already.
    pub(super) fn take(&self, holders: Vec<Holder>) -> Option<Place> {
        let free = self.free.clone().try_acquire_owned().ok()?;
        let mut held = self.held.lock();
        let has_all = |holder| held.get(holder).is_some_and(|places| *places >= EACH);
        if holders.iter().any(has_all) {
            return None;
        }
        for holder in &holders {
            *held.entry(holder.clone()).or_default() += 1;
        }
        drop(held);
        Some(Place {
            holders,
            held: self.held.clone(),
            _free: free,
        })
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        for holder in &self.holders {
            if let Some(places) = held.get_mut(holder) {
                *places -= 1;
                if *places == 0 {
                    held.remove(holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(client: usize, link: &str) -> Vec<Holder> {
        vec![
            Holder::Client(client.to_string().into()),
            Holder::Link(PasswordHash::from_store(link.to_owned())),
        ]
    }

    #[test]
    fn no_client_and_no_link_takes_all_places() {
        let places = Places::new(3 * EACH);
        let of_one_client = (0..EACH).map(|link| places.take(holders(1, &format!("{link}"))));
        let of_one_client: Vec<_> = of_one_client.map(|place| place.expect("a place")).collect();
        assert!(places.take(holders(1, "another")).is_none());
        let at_one_link = (2..2 + EACH).map(|client| places.take(holders(client, "a")));
        let at_one_link: Vec<_> = at_one_link.map(|place| place.expect("a place")).collect();
        assert!(places.take(holders(99, "a")).is_none());
        // Who was refused has taken nothing.
        let others = (0..EACH).map(|n| places.take(holders(100 + n, &format!("b{n}"))));
        let others: Vec<_> = others.map(|place| place.expect("a place")).collect();
        assert!(places.take(holders(200, "c")).is_none(), "no place is left");
        drop(of_one_client);
        assert!(places.take(holders(1, "another")).is_some());
        drop((at_one_link, others));
        assert!(places.held.lock().is_empty(), "nothing is kept");
        assert_eq!(places.free.available_permits(), 3 * EACH);
    }
}
