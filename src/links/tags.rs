//! The tags of links, and whose links there are: how many links have each, and tags with another name.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    spawn,
    sync::{Semaphore, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{Links, Tags, Unavailable, Whose, find::TURN};
use crate::{db::DatabaseError, owner::Owner};

/// How long links get another tag for one request. Then the request has to be sent again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many links get another tag in one statement. Whoever edits one of them waits for that.
const BATCH: u32 = 500;

/// How long links are counted. The statements of Postgres have the same bound.
pub(super) const COUNT_PATIENCE: Duration = Duration::from_secs(2);

/// A tag, and how many links have it that are not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCount {
    /// The tag.
    pub tag: String,
    /// How many links have it.
    pub links: u64,
}

/// An owner, and how many links it has that are not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerCount {
    /// The owner; `None` for links without one.
    pub owner: Option<Owner>,
    /// How many links it has.
    pub links: u64,
}

/// What becomes of a tag.
#[derive(Clone, Debug)]
pub struct Retag {
    /// Whose links.
    pub whose: Whose,
    /// The tag that they have.
    pub tag: String,
    /// The tag that they have instead, once: its only element. Or none.
    pub instead: Tags,
}

/// What became of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retagged {
    /// How many links were changed, deleted ones included.
    pub links: u64,
    /// Whether no link is left that has the tag.
    pub is_done: bool,
}

/// What became of some of the links that have a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetagStep {
    /// How many were changed.
    pub links: u64,
    /// The number of the last one that had the tag; `None` if none had it.
    pub last: Option<i64>,
}

/// The part of a store of links that counts them, and that changes their tags.
///
/// `tests/it/stores/tags.rs` is the contract, run on every implementation.
#[async_trait]
pub trait LinkTags: Send + Sync {
    /// The first tags after this one by name, and how many links have each.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn tags(
        &self,
        whose: &Whose,
        after: &str,
        at_most: u32,
    ) -> Result<Vec<TagCount>, DatabaseError>;

    /// The owners by name, those without one first, and how many links each has.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn owners(&self, whose: &Whose) -> Result<Vec<OwnerCount>, DatabaseError>;

    /// Changes a tag of the first `at_most` links after a number that have it, of those whose links are to be changed.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn retag(
        &self,
        retag: &Retag,
        after: i64,
        at_most: u32,
    ) -> Result<RetagStep, DatabaseError>;
}

/// Who may count links at the same time: one request that counts everybody's, and one that counts an owner's. All others
/// wait for their turn, which comes when the statement has ended, and not only when nobody waits for it any more.
#[derive(Default)]
pub(super) struct Counts {
    everybodys: Turn,
    owners: Turn,
    /// For one request that changes tags.
    retags: Turn,
}

struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Counts {
    async fn run<T: Send + 'static>(
        &self,
        whose: &Whose,
        count: impl Future<Output = Result<T, Unavailable>> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let Turn(turns) = match whose {
            Whose::Owner(_) => &self.owners,
            Whose::Anyone | Whose::Nobody => &self.everybodys,
        };
        let turn = timeout(TURN, turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Unavailable)?.map_err(|_| Unavailable)?;
        let (tell, answer) = oneshot::channel();
        // Goes on if the request ends.
        spawn(async move {
            let latest = Instant::now() + COUNT_PATIENCE;
            let done = count.await;
            let has_ended = done.is_ok();
            // Perhaps nobody waits for it.
            let _ = tell.send(done);
            if !has_ended {
                sleep_until(latest).await;
            }
            drop(turn);
        });
        answer.await.unwrap_or(Err(Unavailable))
    }
}

impl Links {
    /// The first tags after this one by name, and how many links have each.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails, if there are too many links to be counted in two seconds, or if others are
    /// counting.
    pub async fn tags(
        &self,
        whose: &Whose,
        after: &str,
        at_most: u32,
    ) -> Result<Vec<TagCount>, Unavailable> {
        let (store, own, after) = (self.store.clone(), whose.clone(), after.to_owned());
        let tags = async move { store.tags(&own, &after, at_most).await };
        self.counts.run(whose, tags).await
    }

    /// The owners by name, and how many links each has.
    ///
    /// # Errors
    /// As [`tags`](Self::tags).
    pub async fn owners(&self, whose: &Whose) -> Result<Vec<OwnerCount>, Unavailable> {
        let (store, own) = (self.store.clone(), whose.clone());
        let owners = async move { store.owners(&own).await };
        self.counts.run(whose, owners).await
    }

    /// Gives links another tag, some at a time, for about a second. What leads visitors nowhere else is not heard of
    /// by caches.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails. Some links may have been changed.
    pub async fn retag(&self, retag: &Retag) -> Result<Retagged, Unavailable> {
        // Others would only wait for the same links, each with a connection.
        let turn = timeout(TURN, self.counts.retags.0.acquire()).await;
        let _turn = turn.map_err(|_| Unavailable)?.map_err(|_| Unavailable)?;
        let until = Instant::now() + PATIENCE;
        let mut done = Retagged::default();
        let (mut after, mut before) = (i64::MIN, 0);
        while !done.is_done {
            let step = self.store.retag(retag, after, BATCH).await?;
            done.links += step.links;
            match step.last {
                Some(last) => after = last,
                // Nothing was changed from the first number on.
                None if after == i64::MIN || done.links == before => done.is_done = true,
                // Meanwhile, links before these may have been given the tag.
                None => (after, before) = (i64::MIN, done.links),
            }
            if Instant::now() > until {
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;

    #[tokio::test]
    async fn a_count_has_its_turn_until_its_statement_has_ended() {
        let counts = Counts::default();
        let (everybody, anna) = (
            Whose::Anyone,
            Whose::Owner(Owner::parse("anna").expect("a name")),
        );
        let turns_left = || counts.everybodys.0.available_permits();
        let (end, ended) = oneshot::channel::<()>();
        let count = async move {
            let _ = ended.await;
            Ok(())
        };
        // Nobody waits for it any more.
        let given_up = timeout(Duration::from_millis(10), counts.run(&everybody, count)).await;
        assert!(given_up.is_err());
        assert_eq!(turns_left(), 0);
        // An owner does not wait for others.
        assert_eq!(counts.run(&anna, async { Ok(7) }).await, Ok(7));
        end.send(()).expect("a statement under way");
        assert_eq!(counts.run(&everybody, async { Ok(8) }).await, Ok(8));
        // A statement that was given up may go on in the server.
        let failed: Result<(), _> = counts.run(&everybody, async { Err(Unavailable) }).await;
        assert_eq!(failed, Err(Unavailable));
        assert_eq!(turns_left(), 0);
    }
}
