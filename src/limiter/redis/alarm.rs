//! One timer for all requests of a thread. Hardly any request waits until its time is over, and a timer of its own would
//! cost each of them more than all else that it does to wait.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Wakes requests whose time is over.
#[derive(Default)]
pub(super) struct Alarm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// A request has begun to wait for less long than all others.
    sooner: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Until when each request waits, and how to wake it. `None` if it does not wait any more.
    sleepers: VecDeque<Option<(Instant, Waker)>>,
    /// The number of the first of them.
    first: usize,
    /// When the [task](Bell) looks next. `None` if it does not run.
    next: Option<Instant>,
}

impl Alarm {
    /// The answer, or `None` if it does not come until `due`.
    pub(super) async fn wait<T>(&self, due: Instant, answer: impl Future<Output = T>) -> Option<T> {
        let wait = Wait {
            alarm: self,
            due,
            number: None,
            answer: pin!(answer),
        };
        wait.await
    }

    /// Sees to it that `waker` is woken when `due` has come.
    fn set(&self, due: Instant, waker: Waker) -> usize {
        let mut waiting = self.0.waiting();
        waiting.sleepers.push_back(Some((due, waker)));
        let number = waiting.first + waiting.sleepers.len() - 1;
        match waiting.next {
            None => {
                waiting.next = Some(due);
                // A runtime that stops drops the task at once, and that takes the lock.
                drop(waiting);
                tokio::spawn(Bell::new(self.0.clone()).ring());
            }
            Some(next) if due < next => self.0.sooner.notify_one(),
            Some(_) => {}
        }
        number
    }

    /// Sees to it that `waker` is woken instead of the one that was set before.
    fn set_again(&self, number: usize, waker: &Waker) {
        let mut waiting = self.0.waiting();
        if let Some(Some((_, sleeper))) = waiting.sleeper(number) {
            sleeper.clone_from(waker);
        }
    }

    /// Forgets a request.
    fn unset(&self, number: usize) {
        let mut waiting = self.0.waiting();
        let gone = waiting.sleeper(number).and_then(Option::take);
        waiting.drop_gone();
        drop(waiting);
        // A waker may have the task to drop that it would wake.
        drop(gone);
    }
}

/// No request waits any more, so this ends the task.
impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.sooner.notify_one();
    }
}

impl Shared {
    /// Wakes requests whose time is over. Returns when to look again; `None` if no request waits any more.
    fn wake_overdue(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut overdue = Vec::new();
        let mut waiting = self.waiting();
        for sleeper in &mut waiting.sleepers {
            if let Some((_, waker)) = sleeper.take_if(|(due, _)| *due <= now) {
                overdue.push(waker);
            }
        }
        waiting.drop_gone();
        let dues = waiting.sleepers.iter().flatten().map(|(due, _)| *due);
        waiting.next = dues.min();
        let next = waiting.next;
        drop(waiting);
        overdue.into_iter().for_each(Waker::wake);
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// `None` if it was woken.
    fn sleeper(&mut self, number: usize) -> Option<&mut Option<(Instant, Waker)>> {
        self.sleepers.get_mut(number.wrapping_sub(self.first))
    }

    fn drop_gone(&mut self) {
        while let Some(None) = self.sleepers.front() {
            self.sleepers.pop_front();
            self.first += 1;
        }
    }
}

/// The task. It runs only while a request waits.
struct Bell {
    shared: Arc<Shared>,
    has_ended: bool,
}

impl Bell {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            has_ended: false,
        }
    }

    /// Wakes requests until none waits.
    async fn ring(mut self) {
        while let Some(next) = self.shared.wake_overdue() {
            // In either case, look again.
            let _ = timeout_at(next, self.shared.sooner.notified()).await;
        }
        self.has_ended = true;
    }
}

/// The runtime may stop first. Then [`Alarm::set`] has to start the task anew on the next one.
impl Drop for Bell {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.waiting().next = None;
        }
    }
}

/// The future behind [`Alarm::wait`].
struct Wait<'a, Answer> {
    alarm: &'a Alarm,
    due: Instant,
    /// Its number among the sleepers, once it has waited.
    number: Option<usize>,
    answer: Pin<&'a mut Answer>,
}

impl<Answer: Future> Future for Wait<'_, Answer> {
    type Output = Option<Answer::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        match self.number {
            None => self.number = Some(self.alarm.set(self.due, context.waker().clone())),
            Some(_) if Instant::now() >= self.due => return Poll::Ready(None),
            Some(number) => self.alarm.set_again(number, context.waker()),
        }
        Poll::Pending
    }
}

impl<Answer> Drop for Wait<'_, Answer> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.alarm.unset(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use futures_util::future::{join_all, poll_immediate};
    use tokio::{runtime::Runtime, time::sleep};

    use super::*;

    fn after(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    fn sleepers(alarm: &Alarm) -> usize {
        alarm.0.waiting().sleepers.iter().flatten().count()
    }

    /// Waits for an answer that never comes.
    async fn waits_until(alarm: &Alarm, due: Instant) {
        assert_eq!(alarm.wait(due, pending::<()>()).await, None);
        let late = Instant::now().checked_duration_since(due);
        assert!(late.expect("not early") < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn an_answer_in_time_is_given_and_nothing_is_left() {
        let alarm = Alarm::default();
        assert_eq!(alarm.wait(after(60_000), async { 7 }).await, Some(7));
        assert_eq!(sleepers(&alarm), 0);
        let later = async {
            sleep(Duration::from_millis(5)).await;
            7
        };
        assert_eq!(alarm.wait(after(60_000), later).await, Some(7));
        assert_eq!(sleepers(&alarm), 0);
    }

    #[tokio::test]
    async fn each_is_woken_when_its_own_time_is_over_in_any_order() {
        let alarm = Alarm::default();
        let began = Instant::now();
        let dues = [80, 20, 60, 20, 100, 0, 40].map(after);
        join_all(dues.map(|due| waits_until(&alarm, due))).await;
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert_eq!(sleepers(&alarm), 0);
    }

    #[tokio::test]
    async fn a_request_that_waits_for_less_long_than_all_others_is_woken_before_them() {
        let alarm = Alarm::default();
        let mut long = pin!(alarm.wait(after(3_600_000), pending::<()>()));
        assert!(poll_immediate(&mut long).await.is_none());
        // Lets the task begin to wait for an hour.
        sleep(Duration::from_millis(20)).await;
        waits_until(&alarm, after(20)).await;
        assert!(poll_immediate(&mut long).await.is_none());
        assert_eq!(sleepers(&alarm), 1);
    }

    #[tokio::test]
    async fn a_request_that_gives_up_is_forgotten_wherever_it_stands() {
        let alarm = Alarm::default();
        let due = after(3_600_000);
        let mut waits: VecDeque<_> = (0..4)
            .map(|_| Box::pin(alarm.wait(due, pending::<()>())))
            .collect();
        for wait in &mut waits {
            assert!(poll_immediate(wait).await.is_none());
        }
        drop(waits.remove(1));
        assert_eq!(sleepers(&alarm), 3);
        waits.pop_front();
        assert_eq!(sleepers(&alarm), 2);
        waits.clear();
        assert!(alarm.0.waiting().sleepers.is_empty());
    }

    #[test]
    fn it_works_on_the_next_runtime_when_one_has_stopped() {
        let alarm = Alarm::default();
        for _ in 0..3 {
            let runtime = Runtime::new().expect("a runtime");
            runtime.block_on(async {
                waits_until(&alarm, after(5)).await;
                // Leaves a task that rings in an hour.
                let wait = alarm.wait(after(3_600_000), pending::<()>());
                assert!(poll_immediate(pin!(wait)).await.is_none());
            });
        }
    }

    /// A request may go on in another task than the one in which it began to wait.
    #[tokio::test]
    async fn the_task_that_asked_last_is_woken() {
        let alarm = Arc::new(Alarm::default());
        let due = after(50);
        let waits = alarm.clone();
        let mut wait = Box::pin(async move { waits.wait(due, pending::<()>()).await });
        assert!(poll_immediate(&mut wait).await.is_none());
        let woken = tokio::spawn(wait);
        let answer = timeout_at(after(30_000), woken).await.expect("it is woken");
        assert_eq!(answer.expect("no panic"), None);
    }
}
