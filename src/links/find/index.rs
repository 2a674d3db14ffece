//! How links come into the index: a block at a time, in the background, once its numbers are given out. A block of
//! which many links have changed is indexed again.
//!
//! 1. The block is claimed, for [`CLAIM`]: another node takes another block. From now on, a trigger notes links that are
//!    added to this block or changed.
//! 2. Whoever was writing before that has ended.
//! 3. The numbers of changes of the block are read, then its links, some at a time.
//! 4. In a transaction, the block is written if nobody else has claimed it, and those changes are forgotten. Changes
//!    that came after the third step have other numbers, and stay.
//!
//! So several nodes may do this at the same time, other writers wait only while rows are written, and a link may come
//! into a block at any time. If a block cannot be written, its claim keeps all nodes from it for a while.

use std::{ops::RangeInclusive, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::block::{NewBlock, ids_of};
use crate::{
    links::{LinkRecord, Links},
    telemetry::chain,
};

/// Between looks at whether there is something to be indexed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two blocks. A table that is older than the index has many of them, and there is other work.
const PAUSE: Duration = Duration::from_millis(20);

/// Every so many looks, all blocks are looked through and not only the newest ones: an administrator may have removed
/// some from the index.
const THOROUGH: u32 = 600;

/// From how many changes of a block, or of all blocks together, on a block is indexed again. Until then, a search looks
/// at these links one by one.
pub(in crate::links) const MOST_OF_BLOCK: i64 = 64;
pub(in crate::links) const MOST_CHANGES: i64 = 2_048;

/// How many changes are counted, so that counting those of a whole table costs no more.
pub(in crate::links) const MOST_COUNTED: i64 = 20_000;

/// Between two blocks that are indexed again. Somebody may change the same links all the time.
const PAUSE_AGAIN: Duration = Duration::from_secs(2);

/// For how long nobody else indexes a block.
pub(in crate::links) const CLAIM: Duration = Duration::from_secs(60);

/// How many blocks in a row may fail before the next look. The database may be away.
const MOST_FAILURES: u32 = 3;

/// How many links of a block are read at once.
pub(in crate::links) const LINKS_AT_ONCE: usize = 128;

/// Which blocks are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether all blocks are looked through for one that is not in the index, and not only the newest.
    pub thorough: bool,
    /// Whether one may be indexed again.
    pub again: bool,
}

/// What was put into the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// A block that was not there.
    New,
    /// A block of which many links had changed.
    Again,
    /// Nothing, because others were faster. There may be more to do.
    Nothing,
    /// Nothing yet: others are writing, or the database is in trouble. There is more to do, but not now.
    Later,
}

/// A block that is claimed, to be indexed.
#[derive(Clone, Copy, Debug)]
pub(in crate::links) struct Task {
    /// Its number.
    pub(in crate::links) block: i64,
    /// The version that it has for as long as nobody else claims it. No two claims have the same.
    pub(in crate::links) version: i64,
    /// Whether it is in the index.
    pub(in crate::links) again: bool,
}

impl Task {
    /// What it is when it is done.
    pub(in crate::links) fn done(&self) -> Indexed {
        match self.again {
            true => Indexed::Again,
            false => Indexed::New,
        }
    }
}

/// A change of a link: the numbers of the link and of the change.
pub(in crate::links) type Change = (i64, i64);

/// A block that was read, to be written into the index.
pub(in crate::links) struct ReadBlock {
    pub(in crate::links) task: Task,
    /// The changes that are in it.
    pub(in crate::links) changes: Vec<Change>,
    /// When the first and the last of them were made, in Unix seconds.
    pub(in crate::links) created: [Option<f64>; 2],
    /// A row for each bucket.
    pub(in crate::links) rows: Vec<Vec<u8>>,
}

/// A block that is being read.
pub(in crate::links) struct Reading {
    task: Task,
    changes: Vec<Change>,
    left: Option<RangeInclusive<i64>>,
    new: NewBlock,
}

impl Reading {
    /// Begins, with the changes that were read before any of the links.
    pub(in crate::links) fn new(task: Task, changes: Vec<Change>) -> Self {
        Self {
            task,
            changes,
            left: Some(ids_of(task.block)),
            new: NewBlock::default(),
        }
    }

    /// The numbers of which the first [`LINKS_AT_ONCE`] links are to be read next.
    pub(in crate::links) fn left(&self) -> Option<RangeInclusive<i64>> {
        self.left.clone()
    }

    /// Takes these links. Long notes take a while, so a thread of its own does that.
    pub(in crate::links) async fn take(self, links: Vec<LinkRecord>) -> Self {
        let last = links.last().filter(|_| links.len() == LINKS_AT_ONCE);
        let rest = last.map(|link| link.id + 1..=*ids_of(self.task.block).end());
        let left = rest.filter(|rest| !rest.is_empty());
        let mut new = self.new;
        let add = move || {
            for link in &links {
                new.add(link);
            }
            new
        };
        let new = aside(add).await;
        Self { left, new, ..self }
    }

    /// The block, when all of it is read.
    pub(in crate::links) async fn into_block(self) -> ReadBlock {
        let created = self.new.created();
        let new = self.new;
        ReadBlock {
            task: self.task,
            changes: self.changes,
            created,
            rows: aside(move || new.into_rows()).await,
        }
    }
}

impl ReadBlock {
    /// The length of its longest row.
    pub(in crate::links) fn row_bytes(&self) -> i64 {
        let lengths = self.rows.iter().map(|row| row.len() as i64);
        lengths.max().unwrap_or_default()
    }
}

/// Runs this in a thread for work that takes long. Never returns if the node is about to end, and no longer runs it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

impl Links {
    /// Keeps the index. Never returns.
    pub(in crate::links) async fn index(&self) {
        let mut has_failed = false;
        let mut again_at = Instant::now();
        // Whether all blocks were there when all were looked through last.
        let mut complete = false;
        for number in (0..THOROUGH).cycle() {
            let (mut blocks, mut failures) = (0, 0);
            let mut thorough = number == 0 || !complete;
            while failures < MOST_FAILURES {
                let again = again_at <= Instant::now();
                match self.store.index(Look { thorough, again }).await {
                    Ok(None) => {
                        complete |= thorough;
                        break;
                    }
                    Ok(Some(Indexed::Later)) => {
                        complete &= !thorough;
                        break;
                    }
                    Ok(Some(indexed)) => {
                        blocks += u32::from(indexed != Indexed::Nothing);
                        if indexed == Indexed::Again {
                            again_at = Instant::now() + PAUSE_AGAIN;
                        }
                        has_failed = false;
                    }
                    // The block stays claimed, so the next one is another.
                    Err(error) => {
                        failures += 1;
                        complete &= !thorough;
                        if !has_failed {
                            let error = chain(&error);
                            warn!(error, "links cannot be indexed, so searches take longer");
                        }
                        has_failed = true;
                    }
                }
                thorough = true;
                sleep(PAUSE).await;
            }
            if blocks > 1 {
                info!(blocks, "links are indexed");
            }
            sleep(INTERVAL).await;
        }
    }
}
