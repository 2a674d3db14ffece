//! How a link is followed: what the cache believes, how long a request waits for a look-up, and then the visit.

use std::{
    pin::{Pin, pin},
    slice,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Links, LookUp, Resolved, ShortCode, Unavailable, Visit,
    cache::{Belief, Staleness},
};

/// How long a request that could be answered with a stale link waits for the link to be looked up again.
const PATIENCE: Duration = Duration::from_millis(100);

impl Links {
    /// Where `code` leads. A link with a password is [`Resolved::Locked`]. If the link's visits are limited, a
    /// [`Visit::Counted`] visit uses up one of them, and any other is not told the target. `visit` is called only for a
    /// link whose visits are limited.
    ///
    /// # Errors
    /// [`Unavailable`] if the store had to be asked, and cannot answer.
    pub async fn follow(
        &self,
        code: &ShortCode,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let code = &*self.code_case.fold(code);
        let Some(cache) = &self.cache else {
            let found = self.store.look_up(slice::from_ref(code)).await?.pop();
            let found = found.unwrap_or(LookUp::Unknown);
            return self.arrive(code, found, visit).await;
        };
        let (stale, staleness) = match cache.belief(code) {
            Belief::Certain(resolved) => return Ok(resolved),
            Belief::Stale(resolved, _) if self.store.health.is_unreachable() => {
                cache.metrics.stale.inc();
                return Ok(resolved);
            }
            Belief::Stale(resolved, staleness) => (Some(resolved), Some(staleness)),
            Belief::Nothing => (None, None),
        };
        let look_up = pin!(cache.look_up(code));
        match (self.with_patience(look_up, staleness).await, stale) {
            (Some(found), _) => {
                cache.metrics.misses.inc();
                self.arrive(code, found, visit).await
            }
            (None, Some(resolved)) => {
                cache.metrics.stale.inc();
                Ok(resolved)
            }
            (None, None) => {
                cache.metrics.misses.inc();
                Err(Unavailable)
            }
        }
    }

    /// The answer to a look-up. `None` if the store fails, or if it takes so long that a stale link is the better
    /// answer.
    async fn with_patience(
        &self,
        mut look_up: Pin<&mut impl Future<Output = Option<LookUp>>>,
        stale: Option<Staleness>,
    ) -> Option<LookUp> {
        loop {
            match timeout(PATIENCE, look_up.as_mut()).await {
                Ok(found) => return found,
                Err(_) if self.may_be_believed(stale) => return None,
                Err(_) => {}
            }
        }
    }

    /// Whether a stale link is a better answer than to wait any longer.
    fn may_be_believed(&self, stale: Option<Staleness>) -> bool {
        match stale {
            None => false,
            Some(Staleness::Old) => true,
            // It may lead elsewhere by now: only a store that seems to fail is a reason to use it.
            Some(Staleness::Doubtful) => self.store.health.is_suspected(),
        }
    }
}
