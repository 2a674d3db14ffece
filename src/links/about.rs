//! What everybody may know of a link.

use std::time::{Duration, SystemTime};

use super::{
    LinkRecord, LinkState, Links, LookUp, Resolved, ShortCode, Unavailable, cache::Belief,
};

/// So many requests ask the store at once. Anybody may ask, about any code, and others need its connections.
pub(super) const AT_ONCE: usize = 4;

/// Why nothing is told of a link.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotTold {
    /// Many ask at the moment: it is worth another try.
    #[error("too many requests ask about links at the moment")]
    Busy,
    /// The store fails.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What everybody may know of a link. Has no note, no tags and no owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What people call it; not if it was taken down or deleted.
    pub title: Option<String>,
    /// When it was made, by the store's clock.
    pub created_at: SystemTime,
    /// How long ago that is.
    pub age: Duration,
    /// Whether it leads to its target.
    pub works: bool,
    /// Whether visitors are asked for a password.
    pub needs_password: bool,
    /// Whether visits are counted, because only so many are allowed.
    pub counts_visits: bool,
    /// Where it leads, if every request is led there without a password and without a counted visit.
    pub target: Option<String>,
}

impl Links {
    /// What everybody may know of the link that has this code. `None` if there is none, or if it has not started: its
    /// owner may not want it to be known yet.
    ///
    /// Asks the store, unless the cache is certain that the code leads nowhere. What the cache knows of a link is not
    /// enough.
    ///
    /// # Errors
    /// [`NotTold`]
    pub async fn about(&self, code: &ShortCode) -> Result<Option<About>, NotTold> {
        if self.is_nowhere(code).await? {
            return Ok(None);
        }
        let asks = self.asked_about.try_acquire();
        let _until_told = asks.map_err(|_| NotTold::Busy)?;
        let record = self.store.record(code).await?;
        let has_started = |link: &LinkRecord| link.starts_at.is_none_or(|at| at <= link.read_at);
        Ok(record.filter(has_started).map(About::from))
    }

    /// Whether the cache is certain that a code leads nowhere. Looks up a code of which nothing is remembered: requests
    /// for the same unknown code then share one query, and the next ones need none.
    async fn is_nowhere(&self, code: &ShortCode) -> Result<bool, Unavailable> {
        let Some(cache) = &self.cache else {
            return Ok(false);
        };
        match cache.belief(code) {
            Belief::Certain(resolved) => Ok(resolved == Resolved::Unknown),
            Belief::Stale(..) => Ok(false),
            Belief::Nothing => {
                let found = cache.look_up(code).await.ok_or(Unavailable)?;
                cache.metrics.misses.inc();
                Ok(matches!(found, LookUp::Unknown | LookUp::NotStarted(_)))
            }
        }
    }
}

impl From<LinkRecord> for About {
    fn from(link: LinkRecord) -> Self {
        let works = link.state == LinkState::Active;
        let counts_visits = link.max_visits.is_some();
        let was_removed = matches!(link.state, LinkState::Disabled | LinkState::Deleted);
        Self {
            title: link.title.filter(|_| !was_removed),
            created_at: link.created_at,
            age: link
                .read_at
                .duration_since(link.created_at)
                .unwrap_or_default(),
            works,
            needs_password: link.has_password,
            counts_visits,
            target: (works && !link.has_password && !counts_visits).then_some(link.target),
        }
    }
}
