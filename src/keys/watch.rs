//! The background work of keys: hearing of changes that other nodes, commands and administrators make.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{KeyChange, Keys};
use crate::telemetry::chain;

/// Between attempts to hear of changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

impl Keys {
    /// The background work, until `stop`: hears of changes.
    pub async fn supervise(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    /// Tells the memory what changes in the store. Never returns.
    async fn watch(&self) {
        let deaf = AtomicBool::new(false);
        let heard = |change| match change {
            KeyChange::Watching => {
                if deaf.swap(false, Ordering::Relaxed) {
                    info!("changes that others make to API keys are heard again");
                }
                self.memory.set_watching(true);
            }
            KeyChange::Keys => self.memory.changed(),
        };
        loop {
            let error = self.store.store.watch(&heard).await;
            self.memory.set_watching(false);
            self.store.health.check(&error);
            if !deaf.swap(true, Ordering::Relaxed) {
                warn!(
                    error = chain(&error),
                    "changes that others make to API keys go unheard: each request with a key asks the store"
                );
            }
            sleep(WATCH_INTERVAL).await;
        }
    }
}
