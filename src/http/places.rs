//! The few places of requests that take more memory and time than others: those of the
//! [table of limits](crate::public::EXCEPTIONS).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{owner::Owner, public::Exception};

/// Who works on what: an entry for each request that has a place.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<Vec<Taken>>>);

/// A path, and for whom a request to it is worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    path: &'static str,
    owner: Owner,
}

/// The place of a request. On drop, it is free.
pub(super) struct Place {
    places: Places,
    taken: Taken,
}

impl Places {
    /// A place for a request of this owner; `None` if all are taken, or as many as one owner may have.
    pub(super) fn take(&self, exception: &'static Exception, owner: &Owner) -> Option<Place> {
        let (path, limits) = (exception.path, &exception.limits);
        let mut all = self.taken();
        let here = all.iter().filter(|taken| taken.path == path);
        let (mut at_once, mut of_owner) = (0, 0);
        for taken in here {
            at_once += 1;
            of_owner += usize::from(taken.owner == *owner);
        }
        if limits.at_once.is_some_and(|most| at_once >= most)
            || limits.of_one_owner.is_some_and(|most| of_owner >= most)
        {
            return None;
        }
        let taken = Taken {
            path,
            owner: owner.clone(),
        };
        all.push(taken.clone());
        Some(Place {
            places: self.clone(),
            taken,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        // Nothing panics while it is locked, and every state of the list is a sound one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.places.taken();
        if let Some(number) = all.iter().position(|taken| *taken == self.taken) {
            all.swap_remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::EXCEPTIONS;

    #[test]
    fn one_owner_has_some_of_the_places_and_all_are_taken_by_several() {
        let places = Places::default();
        let owner = |name: &str| Owner::parse(name).expect("a name");
        let take = |name: &str| places.take(&EXCEPTIONS[0], &owner(name));
        let first = [take("anna"), take("anna")];
        assert!(first.iter().all(Option::is_some));
        assert!(take("anna").is_none(), "two of one owner");
        let second = [take("bert"), take("carl")];
        assert!(second.iter().all(Option::is_some));
        assert!(take("dora").is_none(), "four at once");
        drop(second);
        assert!(take("anna").is_none(), "still two of one owner");
        drop(first);
        assert!(take("anna").is_some() && take("dora").is_some());
    }
}
