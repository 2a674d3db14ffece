//! Requests to shorten the same URL at the same moment: one statement for all of them.
//!
//! While one is under way, those who come next wait, and then share the next one. It begins after all of them have come, so
//! each is told the truth as of after its arrival, as if it had asked by itself.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::TargetHash;

/// Who is at work on which target, and who waits for the next turn.
pub(super) struct Merged<T> {
    waiting: Mutex<HashMap<TargetHash, Followers<T>>>,
}

type Followers<T> = Vec<oneshot::Sender<Turn<T>>>;

/// What somebody who waited gets.
enum Turn<T> {
    /// The answer to somebody who came no earlier.
    Over(T),
    /// The statement to run.
    Yours(Lead<T>),
}

/// The right to run the statement for a target. Dropped, with or without an answer, also on the way to somebody who is
/// gone by now, it passes on to the next.
struct Lead<T> {
    merged: Option<Arc<Merged<T>>>,
    target: TargetHash,
    /// Those who came before the statement begins.
    followers: Followers<T>,
}

impl<T: Clone> Merged<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
        })
    }

    /// The answer of `work`, be it run for this caller or for another one with the same target.
    pub(super) async fn run(
        self: &Arc<Self>,
        target: TargetHash,
        work: impl Future<Output = T>,
    ) -> T {
        let mut lead = match self.join(target) {
            Ok(lead) => lead,
            Err(turn) => match turn.await {
                Ok(Turn::Over(answer)) => return answer,
                Ok(Turn::Yours(lead)) => lead,
                // Cannot be: whoever leads answers, or passes the lead on.
                Err(_) => return work.await,
            },
        };
        let answer = work.await;
        for follower in mem::take(&mut lead.followers) {
            // Whoever is gone needs no answer.
            let _ = follower.send(Turn::Over(answer.clone()));
        }
        answer
    }
}

impl<T> Merged<T> {
    /// The lead, or a place in the queue.
    fn join(self: &Arc<Self>, target: TargetHash) -> Result<Lead<T>, oneshot::Receiver<Turn<T>>> {
        match self.waiting().entry(target) {
            Entry::Vacant(nobody) => {
                nobody.insert(Vec::new());
                Ok(Lead {
                    merged: Some(self.clone()),
                    target,
                    followers: Vec::new(),
                })
            }
            Entry::Occupied(mut waiting) => {
                let (sender, turn) = oneshot::channel();
                waiting.get_mut().push(sender);
                Err(turn)
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<TargetHash, Followers<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let Some(merged) = self.merged.take() else {
            return;
        };
        let mut all = merged.waiting();
        let Entry::Occupied(mut waiting) = all.entry(self.target) else {
            return;
        };
        let mut next = mem::take(&mut self.followers);
        next.append(waiting.get_mut());
        next.retain(|follower| !follower.is_closed());
        while let Some(leader) = next.pop() {
            let lead = Self {
                merged: Some(merged.clone()),
                target: self.target,
                followers: mem::take(&mut next),
            };
            let Err(Turn::Yours(mut unwanted)) = leader.send(Turn::Yours(lead)) else {
                return;
            };
            // It has gone this very moment. Disarmed: it would lock what is locked.
            unwanted.merged = None;
            next = mem::take(&mut unwanted.followers);
        }
        waiting.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::{FutureExt, future::join_all};
    use tokio::{task::yield_now, time::timeout};

    use super::*;

    const TARGET: TargetHash = [7; 32];

    /// A statement that takes as long as the test wants, and answers with how many were begun.
    #[derive(Default)]
    struct Statements {
        begun: AtomicUsize,
        may_end: tokio::sync::Notify,
    }

    impl Statements {
        async fn run(&self) -> usize {
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            self.may_end.notified().await;
            number
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_statement_shares_the_next_one() {
        let (merged, statements) = (Merged::new(), Statements::default());
        let request = || Box::pin(merged.run(TARGET, statements.run()));
        let mut first = request();
        assert!((&mut first).now_or_never().is_none());
        let mut rest: Vec<_> = (0..50).map(|_| request()).collect();
        for request in &mut rest {
            assert!(request.now_or_never().is_none());
        }
        assert_eq!(statements.begun(), 1);
        statements.may_end.notify_one();
        assert_eq!(first.await, 1, "an answer from before the others came");
        let (answers, ()) = tokio::join!(join_all(rest), async {
            while statements.begun() < 2 {
                yield_now().await;
            }
            statements.may_end.notify_one();
        });
        assert_eq!(answers, [2; 50]);
        assert!(merged.waiting().is_empty());
    }

    #[tokio::test]
    async fn targets_do_not_wait_for_each_other() {
        let (merged, statements) = (Merged::new(), Statements::default());
        let mut one = Box::pin(merged.run(TARGET, statements.run()));
        assert!((&mut one).now_or_never().is_none());
        let mut other = Box::pin(merged.run([8; 32], statements.run()));
        assert!((&mut other).now_or_never().is_none());
        assert_eq!(statements.begun(), 2);
    }

    /// Whoever leads may be gone before the answer, and whoever is next as well, before it knows that it is.
    #[tokio::test]
    async fn the_lead_passes_on_from_those_who_are_gone() {
        let (merged, statements) = (Merged::new(), Statements::default());
        let request = || Box::pin(merged.run(TARGET, statements.run()));
        let mut waiting: Vec<_> = (0..5).map(|_| request()).collect();
        for request in &mut waiting {
            assert!(request.now_or_never().is_none());
        }
        let last = waiting.remove(2);
        for request in waiting {
            drop(request);
        }
        let answer = timeout(Duration::from_secs(10), async {
            tokio::join!(last, async {
                while statements.begun() < 2 {
                    yield_now().await;
                }
                statements.may_end.notify_one();
            })
        });
        assert_eq!(answer.await.expect("an answer").0, 2);
        assert!(merged.waiting().is_empty());
    }
}
