//! Finding links: lists and searches, page by page.
//!
//! | file | what it is about |
//! |---|---|
//! | `filter` | which links somebody wants to see |
//! | `term` | what somebody searches for, and what contains it |
//! | `token` | what the index knows of a link |
//! | `block` | a block of the index: which of its links have which token |
//! | `walk` | how a page is found |
//! | `index` | how links come into the index |
//!
//! The index is Shunt's own, and the same in every database: neither Postgres nor SQLite finds the newest links that
//! contain a text in a bounded time whatever the text is, and they fold cases differently. A link is not in the index
//! when it is made, so that costs nothing; a walk looks at such links one by one.

mod block;
mod filter;
mod index;
mod term;
mod token;
mod walk;

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::{LinkRecord, Links, Unavailable};
use crate::db::DatabaseError;

pub(super) use self::{
    block::{BlockSummary, ids_of},
    index::{
        CLAIM, Change, LINKS_AT_ONCE, MOST_CHANGES, MOST_COUNTED, MOST_OF_BLOCK, ReadBlock,
        Reading, Task,
    },
    walk::{EntriesRow, Source, walk},
};
pub use self::{
    filter::{Between, LinkFilter, Whose},
    index::{Indexed, Look},
    term::{InvalidTerm, SearchTerm},
};

/// The most pages that a node looks for at the same time. Searches must not take the connections that redirects need.
pub(super) const AT_ONCE: usize = 2;

/// How long a request waits for its turn.
pub(super) const TURN: Duration = Duration::from_millis(500);

/// A page of links that somebody wants to see.
#[derive(Clone, Debug)]
pub struct LinkQuery {
    /// Which links.
    pub filter: LinkFilter,
    /// In which order.
    pub order: Order,
    /// Only those after this number of a link, in the order.
    pub after: Option<i64>,
    /// The most links of the page.
    pub limit: usize,
}

/// The order of links: that in which their numbers were given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that were stored last come first.
    #[default]
    Newest,
    /// Those that were stored first come first.
    Oldest,
}

/// Links that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkPage {
    /// The links, in their order. They may be fewer than were asked for, even none, also if there are more.
    pub links: Vec<LinkRecord>,
    /// Where the next page begins: after the link with this number. `None` if there are no more.
    pub next: Option<i64>,
}

/// The part of a store of links that finds them.
///
/// `tests/it/stores/find.rs` is the contract, run on every implementation.
#[async_trait]
pub trait LinkSearch: Send + Sync {
    /// Finds a page of links, in a bounded time, as they were at one moment.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn find(&self, query: &LinkQuery) -> Result<LinkPage, DatabaseError>;

    /// Puts one block of links into the index, if there is one that has to be and that nobody else is at. Returns what
    /// was done, or `None` if there was none, or if others are writing to it. Writes nothing if there was none.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. For a minute, nobody tries the same block again.
    async fn index(&self, look: Look) -> Result<Option<Indexed>, DatabaseError>;
}

impl Links {
    /// Finds a page of links. Does at most two of these at the same time.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails, or if too many others are looking for something.
    pub async fn find(&self, query: &LinkQuery) -> Result<LinkPage, Unavailable> {
        let turn = timeout(TURN, self.searches.acquire()).await;
        let _turn = turn.map_err(|_| Unavailable)?.map_err(|_| Unavailable)?;
        self.store.find(query).await
    }
}
