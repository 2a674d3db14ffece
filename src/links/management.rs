//! The part of a store of links that manages links which exist.

use std::time::Duration;

use async_trait::async_trait;

use super::{Edit, Edited, LinkRecord, ShortCode};
use crate::db::DatabaseError;

/// Links as those who manage them see them.
///
/// `tests/it/stores/managed.rs` is the contract, run on every implementation.
#[async_trait]
pub trait LinkManagement: Send + Sync {
    /// The link that has this code, as its main code or as a further one; `None` if there is none. A link that is
    /// deleted is there until it is [purged](Self::purge).
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn record(&self, code: &ShortCode) -> Result<Option<LinkRecord>, DatabaseError>;

    /// The links that have these codes, each once, in no order; nothing for a code that no link has.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn records(&self, codes: &[ShortCode]) -> Result<Vec<LinkRecord>, DatabaseError>;

    /// Edits a link, in one transaction that locks the link first and then reads it: of two edits at the same time, one
    /// sees what the other has made of the link. What the transaction refuses or fails at changes nothing.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer. If the answer to the commit was lost, the edit may be done or not.
    async fn edit(&self, edit: &Edit) -> Result<Edited, DatabaseError>;

    /// Removes links that were deleted longer ago than this, `at_most` so many, with all their codes. Returns how many
    /// there were. Leaves out links that are being edited. Writes nothing if there are none.
    ///
    /// # Errors
    /// [`DatabaseError`] if the store cannot answer.
    async fn purge(&self, deleted_for: Duration, at_most: u32) -> Result<u64, DatabaseError>;
}
