//! Look-ups that the store has to answer, many with one query.
//!
//! What is asked for while queries are under way goes into the next query. An idle store is asked at once, and a busy
//! one is asked for many codes at a time: a client that tries random codes, or a node that has just started, costs a
//! few queries and not one for each request.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::redirects::Landing;
use crate::links::observed::ObservedStore;

/// Queries under way at once: while one is slow, the others go on.
const QUERIES: usize = 4;

/// The most codes in a query.
const CODES_PER_QUERY: usize = 256;

/// Look-ups that wait to be made.
pub(super) struct LookUps {
    store: Arc<ObservedStore>,
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    landings: Vec<Landing>,
    /// Whether [`run`](LookUps::run) has ended: no more look-ups are made.
    over: bool,
}

impl LookUps {
    pub(super) fn new(store: Arc<ObservedStore>) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Queues a look-up for [`run`](Self::run). If `run` has ended, drops it: then its callers get an error.
    pub(super) fn enqueue(&self, landing: Landing) {
        let mut waiting = self.waiting();
        if waiting.over {
            // The landing's drop takes a lock of its own.
            drop(waiting);
            drop(landing);
            return;
        }
        waiting.landings.push(landing);
        drop(waiting);
        self.more.notify_one();
    }

    /// Makes the look-ups that are asked for. Never returns; when this is dropped, so are the look-ups that wait.
    pub(super) async fn run(&self) {
        let _end = End(self);
        join_all((0..QUERIES).map(|_| self.make_queries())).await;
    }

    async fn make_queries(&self) {
        loop {
            let landings = self.take();
            if landings.is_empty() {
                self.more.notified().await;
                continue;
            }
            let codes: Vec<_> = landings
                .iter()
                .map(|landing| landing.code().clone())
                .collect();
            // If the store fails, dropping the landings tells their callers.
            if let Ok(found) = self.store.look_up(&codes).await {
                for (landing, found) in landings.into_iter().zip(found) {
                    landing.land(found);
                }
            }
        }
    }

    fn take(&self) -> Vec<Landing> {
        let mut waiting = self.waiting();
        let most = waiting.landings.len().min(CODES_PER_QUERY);
        let taken = waiting.landings.drain(..most).collect();
        if !waiting.landings.is_empty() {
            self.more.notify_one();
        }
        taken
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends [`LookUps::run`].
struct End<'a>(&'a LookUps);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.over = true;
        let landings = mem::take(&mut waiting.landings);
        drop(waiting);
        // Each landing's drop takes a lock of its own.
        drop(landings);
    }
}
