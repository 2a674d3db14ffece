//! The background work of links: hearing of changes that other nodes and administrators make.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::{join, join4};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Change, Links, cache::Cache};
use crate::telemetry::chain;

/// Between attempts to hear of changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

impl Links {
    /// The background work, until `stop`: supervises the health of the database, hears of changes, makes the cache's
    /// look-ups, removes links that were deleted long ago, and keeps the index of what links contain.
    pub async fn supervise(&self, stop: CancellationToken) {
        let cache = async {
            if let Some(cache) = &self.cache {
                join(self.watch(cache), cache.run()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = join4(self.store.health.supervise(), cache, self.purge(), self.index()) => {}
        }
    }

    /// Tells the cache what changes in the store. Never returns.
    async fn watch(&self, cache: &Cache) {
        let deaf = AtomicBool::new(false);
        let heard = |change| {
            if change == Change::Watching && deaf.swap(false, Ordering::Relaxed) {
                info!("changes that others make to links are heard again");
            }
            cache.changed(&change);
        };
        loop {
            let error = self.store.store.watch(&heard).await;
            cache.lost_sight();
            self.store.health.check(&error);
            if !deaf.swap(true, Ordering::Relaxed) {
                warn!(
                    error = chain(&error),
                    "changes that others make to links go unheard: redirects ask the store"
                );
            }
            sleep(WATCH_INTERVAL).await;
        }
    }
}
