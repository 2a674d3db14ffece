//! Look-ups that the store has to answer, many at a time.
//!
//! Whatever is asked for while queries are under way goes into the next one. An idle store is asked at once, and a busy one
//! is asked for many codes with one query: somebody who tries random codes, or a node that has just started,
//! costs a few queries and not one for each request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};

use super::{
    cache::{Answer, Landing},
    observed::{ObservedStore, Operation, Trial},
};

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
    requests: Vec<Request>,
    /// Nobody makes look-ups any more.
    over: bool,
}

struct Request {
    landing: Landing,
    answer: oneshot::Sender<Answer>,
}

impl LookUps {
    pub(super) fn new(store: Arc<ObservedStore>) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// What the store knows of a code; `None` if it fails. Waits for [`run`](Self::run) to make the look-up.
    pub(super) fn look_up(&self, landing: Landing) -> impl Future<Output = Answer> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let request = Request { landing, answer };
        let mut waiting = self.waiting();
        let refused = if waiting.over {
            Some(request)
        } else {
            waiting.requests.push(request);
            None
        };
        drop(waiting);
        self.more.notify_one();
        async move {
            // Not before somebody waits: whoever calls this is not ready for the end of the flight.
            drop(refused);
            answered.await.unwrap_or(None)
        }
    }

    /// Makes the look-ups that are asked for. Never returns; when it is dropped, so is whatever waits.
    pub(super) async fn run(&self) {
        let _end = End(self);
        join_all((0..QUERIES).map(|_| self.make_queries())).await;
    }

    async fn make_queries(&self) {
        loop {
            let requests = self.take();
            if requests.is_empty() {
                self.more.notified().await;
                continue;
            }
            let codes: Vec<_> = requests
                .iter()
                .map(|request| request.landing.code().clone())
                .collect();
            let query = self.store.store().look_up(&codes);
            // What was wrong is logged and counted there. Those who asked are told by dropping their channels.
            let trial = || Trial::LookUp(codes.clone());
            if let Ok(found) = self.store.run(Operation::LookUp, query, trial).await {
                for (Request { landing, answer }, found) in requests.into_iter().zip(found) {
                    landing.remember(&found);
                    // Whoever is gone needs no answer.
                    let _ = answer.send(Some(found));
                }
            }
        }
    }

    fn take(&self) -> Vec<Request> {
        let mut waiting = self.waiting();
        let most = waiting.requests.len().min(CODES_PER_QUERY);
        let taken = waiting.requests.drain(..most).collect();
        if !waiting.requests.is_empty() {
            self.more.notify_one();
        }
        taken
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'a>(&'a LookUps);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.over = true;
        let requests = std::mem::take(&mut waiting.requests);
        drop(waiting);
        drop(requests);
    }
}
