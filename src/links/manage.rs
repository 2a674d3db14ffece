//! How links are managed: shown, edited, deleted, restored; and the end of those that nobody has restored.

use std::time::Duration;

use tokio::time::sleep;
use tracing::info;

use super::{
    Change, Edit, Edited, Editor, LinkRecord, Links, Operation, ShortCode, Unavailable,
    cache::Cache,
};

/// How long a deleted link can be restored if nothing else is configured.
pub(super) const RESTORE_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Between looks at whether there are links to be purged.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// The most links that one statement purges. It keeps others who write to the table, or to the file, from waiting long.
const PURGE_BATCH: u32 = 500;

/// Between two such statements.
const PURGE_PAUSE: Duration = Duration::from_millis(100);

/// A write whose outcome is not known. If it stays so, because the store fails or because the request is given up, the
/// cache doubts everything: the write may be committed, and a file announces what another process commits, but not what
/// this one does. A store on the network announces it.
pub(super) struct Uncertain<'a>(Option<&'a Cache>);

impl Uncertain<'_> {
    /// Now the outcome is known.
    pub(super) fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Uncertain<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.0 {
            cache.changed(&Change::Everything);
        }
    }
}

impl Links {
    /// The link that has this code, as its main code or as a further one. `None` if there is none, or not for this
    /// editor. A deleted link is there until it is purged.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails.
    pub async fn record(
        &self,
        code: &ShortCode,
        editor: &Editor,
    ) -> Result<Option<LinkRecord>, Unavailable> {
        let record = self.store.record(code).await?;
        Ok(record.filter(|link| editor.may_edit(link.owner.as_ref())))
    }

    /// As [`record`](Self::record) for several codes. The links in no order, each once.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails.
    pub async fn records(
        &self,
        codes: &[ShortCode],
        editor: &Editor,
    ) -> Result<Vec<LinkRecord>, Unavailable> {
        let mut records = self.store.records(codes).await?;
        records.retain(|link| editor.may_edit(link.owner.as_ref()));
        Ok(records)
    }

    /// Edits a link. When this returns [`Edited::Done`], the edit is committed, and this node redirects accordingly.
    /// Other nodes hear of it from the store.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails. The edit may be done or not.
    pub async fn edit(&self, edit: &Edit) -> Result<Edited, Unavailable> {
        let uncertain = self.uncertain();
        let edited = self.store.edit(edit).await?;
        uncertain.settle();
        if let (Edited::Done(link), Some(cache)) = (&edited, &self.cache) {
            link.codes().for_each(|code| cache.forget(code));
            if let Operation::RemoveCode(code) = &edit.operation {
                cache.forget(code);
            }
        }
        Ok(edited)
    }

    /// To be held during a write that changes where codes lead.
    pub(super) fn uncertain(&self) -> Uncertain<'_> {
        let cache = self.cache.as_ref();
        Uncertain(cache.filter(|_| !self.store_is_networked()))
    }

    /// To restore a link that was deleted no longer ago than deleted links are kept.
    pub fn restore(&self) -> Operation {
        Operation::Restore {
            within: self.restore_for,
        }
    }

    /// Removes links for good that were deleted longer ago than they can be restored. Never returns.
    pub(super) async fn purge(&self) {
        loop {
            let purged = self.purge_once().await;
            if purged > 0 {
                info!(links = purged, "deleted links are removed for good");
            }
            sleep(PURGE_INTERVAL).await;
        }
    }

    /// Removes what is to be removed now, some links at a time. Returns how many links there were. The store logs its
    /// failures itself; the next look tries again.
    async fn purge_once(&self) -> u64 {
        let mut purged = 0;
        while let Ok(batch) = self.store.purge(self.restore_for, PURGE_BATCH).await {
            purged += batch;
            if batch < u64::from(PURGE_BATCH) {
                break;
            }
            sleep(PURGE_PAUSE).await;
        }
        purged
    }
}
