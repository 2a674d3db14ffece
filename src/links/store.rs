//! The trait that every store of links implements.

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{
    CodeCase, Edit, Editor, LinkManagement, LinkOptions, LinkSearch, LinkTags, Manner,
    PasswordHash, Schemes, ShortCode, TargetUrl, Terms,
};
use crate::{db::DatabaseError, owner::Owner};

/// Where links are kept.
///
/// `tests/it/stores/links.rs` is the contract, run on every implementation.
#[async_trait]
pub trait LinkStore: LinkManagement + LinkSearch + LinkTags + Send + Sync {
    /// Whether codes that differ only by case are one code here. If so, every operation finds a link by any spelling of
    /// its codes, and a code is taken if another link has any spelling of it.
    fn code_case(&self) -> CodeCase;

    /// Stores a link, in one round trip if no other link is in the way, and correctly under any race: unique indexes
    /// decide. When this returns [`Created::Stored`] the link is committed.
    ///
    /// If another link has its code, that link gives way if it is dead and the [editor](NewLink::in_place_of) may replace
    /// it, in the same transaction.
    ///
    /// A [deduplicated](NewLink::deduplicated) link to a target that already has such a link is that link.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn insert(&self, link: &NewLink) -> Result<Created, DatabaseError>;

    /// Stores several links, each as [`insert`](Self::insert) would, one after the other and in one transaction. What
    /// became of each, in their order. A link that cannot be stored does not stop the others.
    ///
    /// Calls that only add links never wait for each other in a circle, whatever the order of their links. Where a dead link
    /// gives way, they may: it is locked by whichever of its codes is wanted, and whoever edits it has locks of its own. Then
    /// Postgres ends one of the transactions after `deadlock_timeout` (1 s), and its caller gets an error: nothing is stored.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. Then no link is stored, unless only the answer to the commit was
    /// lost.
    async fn insert_all(&self, links: &[NewLink]) -> Result<Vec<Created>, DatabaseError>;

    /// What is known of some codes, in their order, with one query. Changes nothing.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, DatabaseError>;

    /// Uses up one visit of a link whose visits are limited, atomically; `false` if none was left.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn count_visit(&self, code: &ShortCode) -> Result<bool, DatabaseError>;

    /// Reports every change to what codes lead to, also changes that other nodes and administrators make. Begins with
    /// [`Change::Watching`] once no change can be missed any more. Returns, with the reason, when it cannot go on.
    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> DatabaseError;

    /// Whether links can be looked up: looks a code up that no link has.
    ///
    /// # Errors
    /// [`DatabaseError`] if they cannot.
    async fn ping(&self) -> Result<(), DatabaseError> {
        self.look_up(&[ShortCode::unused()]).await.map(drop)
    }

    /// Does a write, takes it back, and commits the transaction around both: what shows only in a commit shows here.
    /// Nothing of it is visible outside of the transaction.
    ///
    /// # Errors
    /// [`DatabaseError`] if the write would not be stored.
    async fn rehearse(&self, write: &Write) -> Result<(), DatabaseError>;
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
    /// Who may change it; nobody but administrators if it has no owner.
    pub owner: Option<Owner>,
    /// When and how often it works.
    pub terms: Terms,
    /// What else it has.
    pub options: LinkOptions,
    /// Whose dead link with the same code gives way to it, if any may: one that has expired, is used up or deleted. Not
    /// for a deduplicated link.
    pub in_place_of: Option<Editor>,
}

impl NewLink {
    /// A link of nobody, without terms and options, and not deduplicated.
    pub fn new(code: ShortCode, target: TargetUrl) -> Self {
        Self {
            code,
            target,
            deduplicated: false,
            owner: None,
            terms: Terms::default(),
            options: LinkOptions::default(),
            in_place_of: None,
        }
    }

    /// A deduplicated link whose code and target no stored link has.
    pub(super) fn any() -> Self {
        let code = ShortCode::unused();
        #[allow(clippy::expect_used, reason = "a constant, and letters and digits")]
        let target = TargetUrl::parse(
            &format!("https://rehearsal.invalid/{code}"),
            &Schemes::default(),
        )
        .expect("a complete URL");
        Self {
            deduplicated: true,
            ..Self::new(code, target)
        }
    }

    /// What the unique index on targets sees: NULL for a link that is not deduplicated.
    ///
    /// A b-tree on the URL itself fails above 2704 bytes, hence the hash. Each owner's links are deduplicated among
    /// themselves: an owner may change a link, and nobody else must have been given its code. No owner's name and no URL
    /// contains a line feed.
    pub(super) fn target_hash(&self) -> Option<TargetHash> {
        let hash = || match &self.owner {
            None => Sha256::digest(self.target.as_str()),
            Some(owner) => Sha256::digest(format!("{owner}\n{}", self.target.as_str())),
        };
        self.deduplicated.then(|| hash().into())
    }
}

/// The numbers of the links, in the order in which a transaction stores them. A link locks its code or its target, and
/// transactions that take only these locks, in the same order, never wait for each other in a circle. (A dead link that
/// gives way is one more lock, in no order.) Links that want the same keep their order, so that the first of them gets it.
///
/// Where case matters, it decides last: the index that ignores it may be there for another node.
pub(super) fn in_order_of_locks(case: CodeCase, links: &[NewLink]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..links.len()).collect();
    numbers.sort_by_cached_key(|&number| {
        let link = &links[number];
        // The random code of a deduplicated link is nobody else's.
        let code = (!link.deduplicated).then(|| {
            [CodeCase::Ignored, case].map(|case| case.fold(&link.code).as_str().to_owned())
        });
        (code, link.target_hash())
    });
    numbers
}

/// A write that failed, to be [rehearsed](LinkStore::rehearse) until it would succeed.
#[derive(Clone, Debug)]
pub enum Write {
    /// Storing a link.
    Insert(Box<NewLink>),
    /// Storing several links in one transaction.
    InsertMany(Vec<NewLink>),
    /// Counting a visit of a link whose visits are limited.
    Visit(ShortCode),
    /// Editing a link.
    Edit(Edit),
}

impl Write {
    /// Storing [any link](NewLink::any).
    pub(super) fn any() -> Self {
        Self::Insert(Box::new(NewLink::any()))
    }
}

/// SHA-256 of a target.
pub(super) type TargetHash = [u8; 32];

/// What became of a [`NewLink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is committed under this code: its own, or that of the deduplicated link that was there before.
    Stored(ShortCode),
    /// It is committed under its own code, in the place of a dead link. What had these codes is gone.
    Replaced(Vec<ShortCode>),
    /// Another link has its code; nothing was stored.
    CodeTaken,
}

/// What a store knows of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// A link that works.
    Found(Link),
    /// A link that has expired or is used up, and leads to this URL instead.
    FallsBack(String),
    /// A link that has expired, is used up, disabled or deleted.
    Gone,
    /// A link that begins to work after this time.
    NotStarted(Duration),
    /// There is no such link.
    Unknown,
}

/// A link that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub url: String,
    /// How visitors are led there.
    pub manner: Manner,
    /// Where it leads when it has expired or is used up.
    pub fallback: Option<String>,
    /// Whether each visit has to be counted, because only so many are allowed.
    pub limited: bool,
    /// What a visitor has to know before it leads anywhere.
    pub password: Option<PasswordHash>,
    /// How much longer it works, by the store's clock.
    pub expires_in: Option<Duration>,
}

/// A change in the store that matters to a cache of look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on no change is missed. Any number may have been missed before.
    Watching,
    /// What this code leads to has changed.
    Link(ShortCode),
    /// Anything may have changed, possibly everything.
    Everything,
}
