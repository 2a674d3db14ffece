//! The trait that every store of links implements.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{Schemes, ShortCode, TargetUrl};

/// Where links are kept.
///
/// `tests/it/stores/links.rs` is the contract, run on every implementation.
#[async_trait]
pub trait LinkStore: Send + Sync {
    /// The name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Stores a link, in one round trip where nothing stands in the way, and correctly under any race:
    /// unique indexes decide. When this returns [`Created::Stored`] the link is committed.
    ///
    /// A [deduplicated](NewLink::deduplicated) link to a target that already has such a link is that link.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    async fn insert(&self, link: &NewLink) -> Result<Created, StoreError>;

    /// What is known of some codes, in their order, with one query. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, StoreError>;

    /// Uses up one visit of a link whose visits are limited, atomically; `false` if none was left.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    async fn count_visit(&self, code: &ShortCode) -> Result<bool, StoreError>;

    /// Reports every change to what codes lead to, whoever makes it, until that is no longer possible;
    /// then returns why. Begins with [`Change::Watching`], once nothing can be missed any more.
    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> StoreError;

    /// Whether links can be looked up: looks a code up, as [`look_up`](Self::look_up) does.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot.
    async fn ping(&self) -> Result<(), StoreError> {
        self.look_up(&[ShortCode::unused()]).await.map(drop)
    }

    /// Does a write, takes it back, and commits the transaction that both were in: what shows only in a commit shows
    /// here. Nobody sees anything of it.
    ///
    /// # Errors
    /// [`StoreError`] if the write would not be stored.
    async fn rehearse(&self, write: &Write) -> Result<(), StoreError>;

    /// What the store has to do beside answering; `trouble` is told what it notices, again and again while that lasts.
    /// Never returns.
    async fn maintain(&self, _trouble: &(dyn Fn(StoreError) + Send + Sync)) {
        std::future::pending::<()>().await;
    }

    /// Whether other nodes may use it as well. Then an outage of the store is no reason to send requests to another node.
    fn is_networked(&self) -> bool;

    /// Its connections at the moment.
    fn usage(&self) -> StoreUsage;

    /// Closes its connections.
    async fn close(&self);
}

/// A link to be stored.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Its code, unless the link turns out to exist.
    pub code: ShortCode,
    /// Where it leads.
    pub target: TargetUrl,
    /// Whether this one link answers every request to shorten its target.
    pub deduplicated: bool,
    /// How long and how often it works.
    pub terms: Terms,
}

impl NewLink {
    /// What the unique index on targets sees: nothing for a link that is not deduplicated.
    ///
    /// A b-tree on the URL itself fails above 2704 bytes, hence the hash.
    pub(super) fn target_hash(&self) -> Option<TargetHash> {
        self.deduplicated
            .then(|| Sha256::digest(self.target.as_str()).into())
    }
}

/// A write that failed, to be [rehearsed](LinkStore::rehearse) until it would succeed.
#[derive(Clone, Debug)]
pub enum Write {
    /// Storing a link.
    Insert(NewLink),
    /// Counting a visit of a link whose visits are limited.
    Visit(ShortCode),
}

impl Write {
    /// A deduplicated link whose code and target no stored link has.
    pub(super) fn any() -> Self {
        let code = ShortCode::unused();
        #[allow(clippy::expect_used, reason = "a constant, and letters and digits")]
        let target = TargetUrl::parse(
            &format!("https://rehearsal.invalid/{code}"),
            &Schemes::default(),
        )
        .expect("a complete URL");
        Self::Insert(NewLink {
            code,
            target,
            deduplicated: true,
            terms: Terms::default(),
        })
    }
}

/// SHA-256 of a target.
pub(super) type TargetHash = [u8; 32];

/// How long and how often a link works; without limits by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It stops working this long after it was made, by the store's clock; whole seconds.
    pub expires_in: Option<Duration>,
    /// It stops working after this many visits.
    pub max_visits: Option<u32>,
}

impl Terms {
    /// Whether the link works forever.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// What became of a [`NewLink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is committed under this code: its own, or that of the deduplicated link that was there before.
    Stored(ShortCode),
    /// Another link has its code; nothing was stored.
    CodeTaken,
}

/// What a store knows of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// A link that works.
    Found(Link),
    /// One that has expired or is used up.
    Gone,
    /// There is no such link.
    Unknown,
}

/// A link that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub url: String,
    /// Whether each visit has to be counted, because only so many are allowed.
    pub limited: bool,
    /// How much longer it works, by the store's clock.
    pub expires_in: Option<Duration>,
}

/// A change in the store that somebody who remembers look-ups has to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on no change is missed. Any number may have been before.
    Watching,
    /// What this code leads to.
    Link(ShortCode),
    /// Anything, possibly everything.
    Everything,
}

/// Where a code leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// To this URL.
    Found(String),
    /// To this URL, for this one of the visits that it had left.
    Visited(String),
    /// To somewhere that only a counted visit is told.
    Withheld,
    /// Nowhere any more: expired or used up.
    Gone,
    /// There is no such link.
    Unknown,
}

/// Whether a look-up is somebody following the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Yes: it counts towards the link's visits.
    Counted,
    /// No, it only looks, as `HEAD` does or a link preview.
    Uncounted,
}

/// Connections of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// In use at the moment.
    pub in_use: usize,
    /// Open and idle.
    pub idle: usize,
    /// The most there may be.
    pub max: usize,
}

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer within the bound that the store was given.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The store was found to be away a moment ago, and was not asked.
    #[error("the store is away")]
    Away,
    /// The database answered with an error, cannot be reached, or the connection broke.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of the database, or one that belongs to it, is not at its path any more. Links that are stored in it now
    /// are lost when the process ends.
    #[error(
        "{0} was removed or replaced while the node uses it: put it back, or restart the node to use what is there now"
    )]
    FileGone(PathBuf),
    /// Something else than the database has written to a file of it. Its files do not go together any more.
    #[error(
        "{0} was changed in place by something else than SQLite while the node uses it: stop the node and restore a backup"
    )]
    FileChanged(PathBuf),
    /// The database has found its file to be damaged, and has not been found in order since.
    #[error("the database is damaged: no link is made until it is found in order")]
    FileDamaged,
    /// The tables could not be brought up to date.
    #[error("the migrations failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// A short label for metrics: `timeout`, `away`, `database`, `file` or `migration`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Away => "away",
            Self::Database(_) => "database",
            Self::FileGone(_) | Self::FileChanged(_) | Self::FileDamaged => "file",
            Self::Migration(_) => "migration",
        }
    }
}
