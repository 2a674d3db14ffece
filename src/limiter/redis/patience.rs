//! How long one request waits for Redis, over all its attempts.

use std::{pin::pin, time::Duration};

use tokio::time::Instant;

use super::alarm::Alarm;

/// A timer that fires so late shows that this thread did not run. Timers fire up to a millisecond late, and a few more
/// if the thread has much to do. If a thread is kept from running, it is for a time slice of the kernel at least, which
/// is about that long.
const STALL: Duration = Duration::from_millis(5);

/// The time that is left to a request.
///
/// A node that was stopped, or was not given a processor, finds the timer due and the answer in the socket at the same
/// moment, and the timer would win: another task has to read the answer first. So if the timer fires late, the request
/// waits a little more. It does so once. All in all, it waits at most `timeout` and a half, while the process runs.
pub(super) struct Patience<'a> {
    alarm: &'a Alarm,
    due: Instant,
    /// How much longer it may wait, once. `None` if it has.
    grace: Option<Duration>,
}

impl<'a> Patience<'a> {
    /// For a request that begins now, and that `alarm` wakes.
    pub(super) fn new(timeout: Duration, alarm: &'a Alarm) -> Self {
        Self {
            alarm,
            due: Instant::now() + timeout,
            grace: Some(timeout / 2),
        }
    }

    /// The answer, or `None` if it does not come in time.
    pub(super) async fn wait<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            if let Some(answer) = self.alarm.wait(self.due, &mut answer).await {
                return Some(answer);
            }
            let now = Instant::now();
            if now.saturating_duration_since(self.due) < STALL || !self.extend(now) {
                return None;
            }
        }
    }

    /// Redis has answered, and has to be asked again: this must not fail only because the answer was late.
    pub(super) fn begin_again(&mut self) {
        self.extend(Instant::now());
    }

    fn extend(&mut self, now: Instant) -> bool {
        let Some(grace) = self.grace.take() else {
            return false;
        };
        self.due = self.due.max(now + grace);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, thread};

    use tokio::{sync::oneshot, task::yield_now, time::sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);
    /// Longer than the timeout by much more than timers fire late.
    const STOP: Duration = Duration::from_millis(400);

    /// The answer of a task that, with the whole thread, is stopped first, and then has to wait for its turn.
    #[expect(clippy::disallowed_methods, reason = "the runtime has to be blocked")]
    fn answer_after_a_stop() -> impl Future<Output = u8> {
        let (sender, answer) = oneshot::channel();
        tokio::spawn(async move {
            thread::sleep(STOP);
            for _ in 0..3 {
                yield_now().await;
            }
            let _ = sender.send(7);
        });
        async { answer.await.expect("an answer") }
    }

    #[tokio::test]
    async fn it_ends_when_the_time_is_over_and_not_before() {
        let began = Instant::now();
        let alarm = Alarm::default();
        let mut patience = Patience::new(TIMEOUT, &alarm);
        assert_eq!(patience.wait(async { 7 }).await, Some(7));
        assert_eq!(patience.wait(pending::<u8>()).await, None);
        assert!(began.elapsed() >= TIMEOUT);
    }

    #[tokio::test]
    async fn an_answer_that_came_while_the_process_was_stopped_is_read() {
        let alarm = Alarm::default();
        let mut patience = Patience::new(TIMEOUT, &alarm);
        assert_eq!(patience.wait(answer_after_a_stop()).await, Some(7));
    }

    #[tokio::test]
    async fn the_further_wait_is_bounded_and_there_is_one() {
        let began = Instant::now();
        let alarm = Alarm::default();
        let mut patience = Patience::new(TIMEOUT, &alarm);
        let stop = async {
            answer_after_a_stop().await;
            pending::<u8>().await
        };
        assert_eq!(patience.wait(stop).await, None);
        assert!(began.elapsed() >= STOP + TIMEOUT / 2);
        assert_eq!(patience.grace, None);
        assert_eq!(patience.wait(answer_after_a_stop()).await, None);
    }

    #[tokio::test]
    async fn what_has_to_be_asked_again_gets_time_for_it_once() {
        let alarm = Alarm::default();
        let mut patience = Patience::new(TIMEOUT, &alarm);
        let due = patience.due;
        assert_eq!(patience.wait(sleep(TIMEOUT * 3 / 4)).await, Some(()));
        patience.begin_again();
        let extended = patience.due;
        assert!(extended >= due + TIMEOUT / 4, "{due:?}, {extended:?}");
        patience.begin_again();
        assert_eq!(patience.due, extended);
    }
}
