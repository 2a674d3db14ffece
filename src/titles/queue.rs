//! Which links wait for a title, and what becomes of them.

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    FetchError, Fetcher, TitleMetrics,
    metrics::Outcome::{self, Dropped, Failed, Obsolete, Refused, Stored, Unavailable},
};
use crate::{
    links::{Entitled, Links, Untitled},
    telemetry::chain,
};

/// The most links that wait. One takes up to 8 KiB.
const WAITING: usize = 1024;

/// How many pages are fetched at once.
const AT_ONCE: usize = 2;

/// Fetches titles for links that were made without one, after their requests were answered. What still waits when the
/// node stops stays without a title.
pub struct Titles {
    fetcher: Fetcher,
    metrics: TitleMetrics,
    queue: mpsc::Sender<Untitled>,
    waiting: Mutex<mpsc::Receiver<Untitled>>,
}

impl Titles {
    /// Fetches nothing until [`run`](Self::run) does.
    pub fn new(fetcher: Fetcher, metrics: TitleMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        Self {
            fetcher,
            metrics,
            queue,
            waiting: Mutex::new(waiting),
        }
    }

    /// Takes links that were made without a title. Never waits: if too many links wait already, it takes none.
    pub fn listener(&self) -> impl Fn(Untitled) + Send + Sync + 'static {
        let (queue, metrics) = (self.queue.clone(), self.metrics.clone());
        move |link| {
            if queue.try_send(link).is_err() {
                metrics.count(Dropped);
            }
        }
    }

    /// Fetches titles until `stop`.
    pub async fn run(&self, links: &Links, stop: CancellationToken) {
        let workers = (0..AT_ONCE).map(|_| self.work(links));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = join_all(workers) => {}
        }
    }

    /// One link after the other. Never returns: this owns a sender of the queue.
    async fn work(&self, links: &Links) {
        loop {
            let next = self.waiting.lock().await.recv().await;
            let Some(link) = next else {
                return;
            };
            let outcome = self.entitle(links, &link).await;
            self.metrics.count(outcome);
        }
    }

    async fn entitle(&self, links: &Links, link: &Untitled) -> Outcome {
        match self.fetcher.fetch(&link.target).await {
            Ok(Some(title)) => match links.entitle(link, title).await {
                Ok(Entitled::Stored) => Stored,
                Ok(Entitled::Obsolete) => Obsolete,
                Err(_) => Unavailable,
            },
            Ok(None) => Outcome::Untitled,
            Err(error) => {
                debug!(code = %link.code, error = chain(&error), "no title was fetched");
                match error {
                    FetchError::NotAllowed => Refused,
                    _ => Failed,
                }
            }
        }
    }
}
