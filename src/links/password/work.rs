//! How many passwords a node hashes at once, and how many requests wait for that.
//!
//! A hash takes 19 MiB and a core for tens of milliseconds. It is done beside the threads that answer requests, two at
//! a time, and only so many requests wait for their turn. They still share the cores of the machine with all else.
//!
//! Requests that *check* a password and requests that *make* a hash for a link wait in queues of their own, and the two
//! queues take turns. So visitors who try passwords do not keep owners from setting them.

use std::{sync::Arc, time::Duration};

use argon2::password_hash;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tracing::error;

use super::{
    PasswordHash,
    places::{Holder, Place, Places},
};
use crate::{links::PasswordMetrics, telemetry::chain};

/// Hashes at once on a node.
const AT_ONCE: usize = 2;

/// Requests that check a password, those whose turn it is included.
const CHECKING: usize = 18;

/// Requests that make a hash, those whose turn it is included. More than one client can have.
const MAKING: usize = 8;

/// The longest that a request waits for its turn.
pub const PASSWORD_PATIENCE: Duration = Duration::from_secs(1);

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotHashed {
    /// Too many requests wait for this: it is worth another try in a moment.
    #[error("too many passwords are being checked at the moment")]
    Busy,
    /// It failed. The cause is logged.
    #[error("the password could not be hashed")]
    Failed,
}

/// The work with passwords on one node.
pub(in crate::links) struct Passwords {
    checking: Queue,
    making: Queue,
    /// For each hash that is being made at the moment. Goes to those who wait for one in the order in which they came.
    turns: Arc<Semaphore>,
    metrics: PasswordMetrics,
}

struct Queue {
    places: Places,
    /// For the one request of this queue that waits for a turn. The others wait for this, in their order. So at most
    /// one request of the other queue gets a turn before it.
    first: Semaphore,
}

impl Queue {
    fn new(places: usize) -> Self {
        Self {
            places: Places::new(places),
            first: Semaphore::new(1),
        }
    }
}

impl Passwords {
    pub(in crate::links) fn new(metrics: PasswordMetrics) -> Self {
        Self {
            checking: Queue::new(CHECKING),
            making: Queue::new(MAKING),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            metrics,
        }
    }

    /// A place for a request of this client to check the password of this link.
    ///
    /// # Errors
    /// [`NotHashed::Busy`] if there is none, or if the client or the link has its share.
    pub(super) fn place(&self, client: &str, link: &PasswordHash) -> Result<Place, NotHashed> {
        let holders = vec![Holder::Client(client.into()), Holder::Link(link.clone())];
        self.place_in(&self.checking, holders)
    }

    fn place_in(&self, queue: &Queue, holders: Vec<Holder>) -> Result<Place, NotHashed> {
        queue.places.take(holders).ok_or_else(|| {
            self.metrics.no_place.inc();
            NotHashed::Busy
        })
    }

    /// Checks a password when it is the turn of the request that has this place.
    ///
    /// # Errors
    /// [`NotHashed`]
    pub(super) async fn check<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
    ) -> Result<T, NotHashed> {
        self.run(&self.checking, place, work).await
    }

    /// Makes a hash for this client when it is its turn.
    ///
    /// # Errors
    /// [`NotHashed`]
    pub(super) async fn make<T: Send + 'static>(
        &self,
        client: &str,
        work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
    ) -> Result<T, NotHashed> {
        let place = self.place_in(&self.making, vec![Holder::Client(client.into())])?;
        self.run(&self.making, place, work).await
    }

    /// Does some work when it is its turn.
    ///
    /// A request that is given up before its turn makes room at once. Work that has begun cannot be given up: it keeps
    /// its turn to its end, even if no request waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        queue: &Queue,
        place: Place,
        work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
    ) -> Result<T, NotHashed> {
        let Ok(Some(turn)) = timeout(PASSWORD_PATIENCE, self.turn(queue)).await else {
            self.metrics.too_late.inc();
            return Err(NotHashed::Busy);
        };
        let done = spawn_blocking(move || {
            let _until_the_end = (place, turn);
            work()
        });
        let error = match done.await {
            Ok(Ok(done)) => {
                self.metrics.done.inc();
                return Ok(done);
            }
            Ok(Err(error)) => chain(&error),
            // The work has panicked.
            Err(error) => chain(&error),
        };
        error!(error, "a password was not hashed");
        self.metrics.failed.inc();
        Err(NotHashed::Failed)
    }

    /// `None` never: nothing closes the semaphores.
    async fn turn(&self, queue: &Queue) -> Option<OwnedSemaphorePermit> {
        let _until_it_has_one = queue.first.acquire().await.ok()?;
        self.turns.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures_util::{FutureExt, future::join_all};

    use super::*;
    use crate::telemetry::Metrics;

    /// Work that goes on until it is told to end.
    struct Held {
        begun: mpsc::Receiver<()>,
        end: mpsc::Sender<()>,
    }

    fn held() -> (
        Held,
        impl FnOnce() -> password_hash::Result<()> + Send + 'static,
    ) {
        let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
        let work = move || {
            let _ = begin.send(());
            let _ = ended.recv();
            Ok(())
        };
        (Held { begun, end }, work)
    }

    fn passwords() -> Passwords {
        let metrics = Metrics::new().and_then(|metrics| PasswordMetrics::new(&metrics));
        Passwords::new(metrics.expect("metrics"))
    }

    impl Passwords {
        /// A place of a client and at a link that no other number has.
        fn place_of(&self, number: usize) -> Result<Place, NotHashed> {
            let number = number.to_string();
            self.place(&number, &PasswordHash::from_store(number.clone()))
        }

        async fn check_as<T: Send + 'static>(
            &self,
            number: usize,
            work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
        ) -> Result<T, NotHashed> {
            self.check(self.place_of(number)?, work).await
        }

        /// Takes all turns, for work that goes on.
        fn occupy(&self) -> Vec<(Held, impl Future<Output = Result<(), NotHashed>>)> {
            let occupy = |number| {
                let (held, work) = held();
                let mut request = Box::pin(self.check_as(number, work));
                assert_eq!((&mut request).now_or_never(), None);
                held.begun.recv().expect("it has begun");
                (held, request)
            };
            (1_000..1_000 + AT_ONCE).map(occupy).collect()
        }

        fn counted(&self) -> [u64; 4] {
            let PasswordMetrics {
                done,
                no_place,
                too_late,
                failed,
            } = &self.metrics;
            [done, no_place, too_late, failed].map(|counter| counter.get())
        }
    }

    #[allow(clippy::disallowed_methods, reason = "on a thread that may be blocked")]
    #[tokio::test]
    async fn two_are_done_at_once_some_wait_and_the_rest_is_turned_away() {
        let passwords = passwords();
        let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let requests = (0..CHECKING + 5).map(|number| {
            let (running, most) = (running.clone(), most.clone());
            passwords.check_as(number, move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
        });
        let done = join_all(requests).await;
        let refused = done.iter().filter(|done| done.is_err()).count();
        assert_eq!(refused, 5);
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        assert_eq!(passwords.counted(), [CHECKING as u64, 5, 0, 0]);
        let again = passwords.check_as(0, || Ok(7)).await;
        assert_eq!(again, Ok(7), "there is room again");
    }

    /// With every place taken by those who try passwords.
    #[tokio::test]
    async fn those_who_try_passwords_do_not_keep_others_from_setting_them() {
        let passwords = passwords();
        let occupied = passwords.occupy();
        let order = Arc::<Mutex<Vec<&str>>>::default();
        let note = |what: &'static str| {
            let order = order.clone();
            move || {
                order.lock().expect("a list").push(what);
                Ok(())
            }
        };
        let mut checks: Vec<_> = (AT_ONCE..CHECKING)
            .map(|number| Box::pin(passwords.check_as(number, note("check"))))
            .collect();
        for check in &mut checks {
            assert_eq!(check.now_or_never(), None, "it waits");
        }
        let refused = passwords.check_as(CHECKING, note("one too many")).await;
        assert_eq!(refused, Err(NotHashed::Busy));
        let mut make = Box::pin(passwords.make("owner", note("make")));
        assert_eq!((&mut make).now_or_never(), None, "it waits");
        for (held, _) in &occupied {
            held.end.send(()).expect("it goes on");
        }
        let (made, checked) = tokio::join!(make, join_all(checks));
        assert_eq!(made, Ok(()));
        assert_eq!(checked, [Ok(()); CHECKING - AT_ONCE]);
        let order = order.lock().expect("a list");
        let place = order.iter().position(|what| *what == "make");
        // Two turns were free at once, and threads do not begin in any order.
        assert!(place.is_some_and(|place| place <= AT_ONCE), "{order:?}");
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_makes_room_but_its_work_keeps_its_turn() {
        let passwords = passwords();
        let works = passwords.occupy().into_iter().map(|(held, request)| {
            drop(request);
            held
        });
        let works: Vec<_> = works.collect();
        let waiting = || {
            let numbers = AT_ONCE..CHECKING;
            numbers.map(|number| Box::pin(passwords.check_as(number, || Ok(()))))
        };
        let mut requests: Vec<_> = waiting().collect();
        for request in &mut requests {
            assert_eq!(request.now_or_never(), None, "it waits");
        }
        let turned_away = passwords.check_as(0, || Ok(())).now_or_never();
        assert_eq!(turned_away, Some(Err(NotHashed::Busy)));
        drop(requests);
        let mut requests: Vec<_> = waiting().collect();
        for request in &mut requests {
            assert_eq!(request.now_or_never(), None, "there is room again");
        }
        for held in works {
            held.end.send(()).expect("it goes on");
        }
        assert_eq!(join_all(requests).await, [Ok(()); CHECKING - AT_ONCE]);
    }

    #[tokio::test]
    async fn no_request_waits_for_longer_than_the_patience() {
        let passwords = passwords();
        let (works, requests): (Vec<_>, Vec<_>) = passwords.occupy().into_iter().unzip();
        let check = passwords.check_as(1, || Ok(()));
        let make = passwords.make("owner", || Ok(()));
        let late = tokio::join!(check, make);
        assert_eq!(late, (Err(NotHashed::Busy), Err(NotHashed::Busy)));
        assert_eq!(passwords.counted(), [0, 0, 2, 0]);
        drop(works);
        assert_eq!(join_all(requests).await, [Ok(()); AT_ONCE]);
    }

    #[tokio::test]
    async fn work_that_fails_takes_no_turn_away() {
        let passwords = passwords();
        for number in 0..=CHECKING {
            let panicked = passwords.check_as(number, || -> password_hash::Result<()> {
                panic!("for the test")
            });
            assert_eq!(panicked.await, Err(NotHashed::Failed));
            let failed = || Err::<(), _>(password_hash::Error::OutOfMemory);
            let failed = passwords.check_as(number, failed);
            assert_eq!(failed.await, Err(NotHashed::Failed));
        }
        assert_eq!(passwords.check_as(0, || Ok(())).await, Ok(()));
        assert_eq!(passwords.counted()[3], 2 * (CHECKING as u64 + 1));
    }
}
