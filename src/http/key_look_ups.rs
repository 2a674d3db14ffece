//! The look-ups of keys that are under way. Requests with the same key share one: a program that sends many requests at
//! once has made one attempt, and not as many as it has connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, future::Shared};
use tokio::sync::oneshot;

use crate::keys::{Calm, KeyHash, Unavailable, VerifiedKey};

/// What a store says of a key: `None` if the key is not valid.
pub(super) type Verdict = Result<Option<Arc<VerifiedKey>>, Unavailable>;

/// The verdict, for any number of requests; an error if the request that was to look the key up may not.
pub(super) type Answer = Shared<oneshot::Receiver<Verdict>>;

/// The look-ups of keys that are under way: at most one for each request. No request joins a look-up from before a
/// change: that may have read what was before it.
#[derive(Default)]
pub struct KeyLookUps(Mutex<HashMap<Which, Answer>>);

/// A key, and when its look-up began.
type Which = (KeyHash, Calm);

/// A look-up of a key.
pub(super) enum LookUp {
    /// Another request makes it.
    Joined(Answer),
    /// The caller has to make it.
    Begun(Begun, Answer),
}

/// A look-up that the caller has to make. If it is dropped without a verdict, the requests that have joined are told.
pub(super) struct Begun {
    /// Dropped before the sender: a request that is told, and asks again, does not join what has ended.
    end: End,
    verdict: oneshot::Sender<Verdict>,
}

/// On drop, the look-up is under way no more.
struct End {
    look_ups: Arc<KeyLookUps>,
    which: Which,
}

impl KeyLookUps {
    /// Joins the look-up of a key that is under way, or begins one.
    pub(super) fn of(self: &Arc<Self>, key: KeyHash, calm: Calm) -> LookUp {
        let which = (key, calm);
        match self.under_way().entry(which) {
            Entry::Occupied(other) => LookUp::Joined(other.get().clone()),
            Entry::Vacant(none) => {
                let (verdict, answer) = oneshot::channel();
                let answer = none.insert(answer.shared()).clone();
                let end = End {
                    look_ups: self.clone(),
                    which,
                };
                LookUp::Begun(Begun { end, verdict }, answer)
            }
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Which, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    /// Hands the verdict to all requests that have joined.
    pub(super) fn has_ended(self, verdict: Verdict) {
        drop(self.end);
        // Fails if no other request waits.
        let _ = self.verdict.send(verdict);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.look_ups.under_way().remove(&self.which);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ApiKey;

    fn any() -> Which {
        (ApiKey::generate().hash(), Calm::numbered(0))
    }

    fn joined(look_ups: &Arc<KeyLookUps>, which: Which) -> Answer {
        match look_ups.of(which.0, which.1) {
            LookUp::Joined(answer) => answer,
            LookUp::Begun(..) => panic!("none is under way"),
        }
    }

    fn begun(look_ups: &Arc<KeyLookUps>, which: Which) -> Begun {
        match look_ups.of(which.0, which.1) {
            LookUp::Begun(begun, _) => begun,
            LookUp::Joined(_) => panic!("one is under way already"),
        }
    }

    #[tokio::test]
    async fn requests_with_the_same_key_share_a_look_up() {
        let look_ups = Arc::<KeyLookUps>::default();
        let (key, other) = (any(), any());
        let first = begun(&look_ups, key);
        let answers = [joined(&look_ups, key), joined(&look_ups, key)];
        let second = begun(&look_ups, other);
        first.has_ended(Ok(None));
        for answer in answers {
            assert_eq!(answer.await, Ok(Ok(None)));
        }
        second.has_ended(Err(Unavailable));
        assert!(look_ups.under_way().is_empty());
        drop(begun(&look_ups, key));
    }

    #[tokio::test]
    async fn a_request_that_gives_up_leaves_the_look_up_to_the_others() {
        let look_ups = Arc::<KeyLookUps>::default();
        let key = any();
        let first = begun(&look_ups, key);
        let answer = joined(&look_ups, key);
        drop(first);
        assert!(answer.await.is_err());
        let second = begun(&look_ups, key);
        let answer = joined(&look_ups, key);
        second.has_ended(Err(Unavailable));
        assert_eq!(answer.await, Ok(Err(Unavailable)));
    }

    #[tokio::test]
    async fn nobody_joins_a_look_up_from_before_a_change() {
        let look_ups = Arc::<KeyLookUps>::default();
        let before = any();
        let after = (before.0, Calm::numbered(1));
        let first = begun(&look_ups, before);
        let second = begun(&look_ups, after);
        first.has_ended(Ok(None));
        let answer = joined(&look_ups, after);
        second.has_ended(Err(Unavailable));
        assert_eq!(answer.await, Ok(Err(Unavailable)));
        assert!(look_ups.under_way().is_empty());
    }
}
