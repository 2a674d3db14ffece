//! When a store that fails is away, pure: time is an argument, in µs on any clock that cannot be set.
//!
//! A hiccup is no outage: a late answer, a lost connection that was replaced. Such a failure concerns the one request
//! that met it, and the next request asks the store again. It is an outage
//!
//! | if | because |
//! |---|---|
//! | requests have waited for two timeouts, and not one of them was answered | one timeout may be a hiccup; a store that stands still answers nothing, on no connection |
//! | no connection can be made in place of one that was lost | there is nothing to ask |
//! | the store says that it cannot serve, or it has lost what it knew | each request would hear the same |
//!
//! In a store that stands still, the first requests wait for their whole timeout. The first of those that fail is not
//! enough for an outage, those that fail one timeout later are. So the breaker opens two timeouts after the store has
//! stopped, or one after the background work has looked, if fewer requests come.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use super::WindowStoreError;

/// What a failure says of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer has come in time.
    NoAnswer,
    /// The store cannot be reached, or it cannot serve. Asking again would not help.
    Certain,
}

impl Failure {
    /// `None` if the store works and `error` concerns one client.
    pub(super) fn of(error: &WindowStoreError) -> Option<Self> {
        match error {
            WindowStoreError::Key { .. } => None,
            WindowStoreError::Timeout(_) | WindowStoreError::Lost(_) => Some(Self::NoAnswer),
            WindowStoreError::Disconnected
            | WindowStoreError::Misconfigured(..)
            | WindowStoreError::Restarted
            | WindowStoreError::LostWrites
            | WindowStoreError::Failed(_)
            | WindowStoreError::Connect(_) => Some(Self::Certain),
        }
    }
}

/// Tells an outage from a hiccup.
#[derive(Debug)]
pub(super) struct Outage {
    silence: Silence,
    /// The longest silence that is a hiccup.
    bound: i64,
}

impl Outage {
    /// For a store that a request waits for until `timeout`, and that answers at `now`.
    pub(super) fn new(timeout: Duration, now: i64) -> Self {
        Self {
            silence: Silence::new(now),
            bound: silence_bound(timeout),
        }
    }

    /// The store has answered, whatever it said.
    pub(super) fn answered(&self, now: i64) {
        self.silence.answered(now);
    }

    /// Whether a failure at `now` of something that was sent at `sent` shows that the store is away.
    pub(super) fn failed(&self, failure: Failure, sent: i64, now: i64) -> bool {
        match failure {
            Failure::NoAnswer => self.silence.unanswered(sent, now) >= self.bound,
            Failure::Certain => true,
        }
    }
}

/// The shortest silence, µs, that is no hiccup: two timeouts.
pub(super) fn silence_bound(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_micros())
        .unwrap_or(i64::MAX)
        .saturating_mul(2)
}

/// How long requests have waited in vain.
#[derive(Debug)]
pub(super) struct Silence {
    /// When the last answer came, or up to [`PRECISION`] before that.
    answered: AtomicI64,
    /// When the first of those requests was sent that failed after the last answer. Meaningless if that was before it.
    waiting_since: AtomicI64,
}

/// How exactly the last answer is remembered, µs. So that many threads seldom write the same cache line.
const PRECISION: i64 = 1_000;

impl Silence {
    /// As if an answer had come at `now`.
    pub(super) fn new(now: i64) -> Self {
        Self {
            answered: AtomicI64::new(now),
            waiting_since: AtomicI64::new(i64::MIN),
        }
    }

    /// An answer has come.
    pub(super) fn answered(&self, now: i64) {
        if now - self.answered.load(Ordering::Relaxed) >= PRECISION {
            self.answered.store(now, Ordering::Relaxed);
        }
    }

    /// What was sent at `sent` has no answer at `now`. Returns for how long, µs, requests have waited by now of which
    /// none was answered. 0 if there was an answer since `sent`.
    pub(super) fn unanswered(&self, sent: i64, now: i64) -> i64 {
        let answered = self.answered.load(Ordering::Relaxed);
        // The answer may have come so much later.
        if sent < answered + PRECISION {
            return 0;
        }
        let first = |since: i64| (since <= answered || sent < since).then_some(sent);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let since = match self.waiting_since.fetch_update(success, failure, first) {
            Ok(_) => sent,
            Err(since) => since,
        };
        now - since
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000;
    const TIMEOUT: Duration = Duration::from_millis(100);

    fn outage() -> Outage {
        Outage::new(TIMEOUT, 0)
    }

    /// A request that was sent at `sent` ms and has waited for its timeout.
    fn times_out(outage: &Outage, sent: i64) -> bool {
        outage.failed(Failure::NoAnswer, sent * MS, (sent + 100) * MS)
    }

    #[test]
    fn each_error_says_something_of_the_store() {
        let io = || std::io::Error::other("x").into();
        let key = WindowStoreError::Key {
            key: String::new(),
            error: io(),
        };
        assert_eq!(Failure::of(&key), None);
        for error in [
            WindowStoreError::Timeout(TIMEOUT),
            WindowStoreError::Lost(io()),
        ] {
            assert_eq!(Failure::of(&error), Some(Failure::NoAnswer), "{error}");
        }
        for error in [
            WindowStoreError::Disconnected,
            WindowStoreError::Restarted,
            WindowStoreError::Failed(io()),
            WindowStoreError::Connect(io()),
        ] {
            assert_eq!(Failure::of(&error), Some(Failure::Certain), "{error}");
        }
    }

    #[test]
    fn what_is_certain_needs_no_second_look() {
        let outage = outage();
        outage.answered(10 * MS);
        assert!(outage.failed(Failure::Certain, 9 * MS, 10 * MS));
    }

    #[test]
    fn many_that_fail_together_are_one_hiccup() {
        let outage = outage();
        for sent in 10..100 {
            assert!(!times_out(&outage, sent), "{sent}");
        }
    }

    #[test]
    fn two_timeouts_without_an_answer_are_an_outage() {
        let outage = outage();
        assert!(!times_out(&outage, 10));
        assert!(!times_out(&outage, 109));
        assert!(times_out(&outage, 110));
    }

    #[test]
    fn one_late_request_among_answered_ones_is_none() {
        let outage = outage();
        for sent in (10..10_000).step_by(50) {
            assert!(!times_out(&outage, sent), "{sent}");
            outage.answered((sent + 100) * MS);
        }
    }

    #[test]
    fn after_an_answer_the_wait_begins_anew() {
        let outage = outage();
        assert!(!times_out(&outage, 10));
        outage.answered(150 * MS);
        assert!(!times_out(&outage, 120), "sent before the answer");
        assert!(!times_out(&outage, 152));
        assert!(times_out(&outage, 252));
    }

    #[test]
    fn those_that_fail_may_be_told_in_any_order() {
        let outage = outage();
        assert!(!outage.failed(Failure::NoAnswer, 60 * MS, 160 * MS));
        assert!(!outage.failed(Failure::NoAnswer, 10 * MS, 161 * MS));
        assert!(outage.failed(Failure::NoAnswer, 110 * MS, 210 * MS));
    }

    #[test]
    fn what_was_sent_before_an_answer_does_not_shorten_the_wait_since() {
        let outage = outage();
        outage.answered(150 * MS);
        assert!(!times_out(&outage, 152));
        assert!(!outage.failed(Failure::NoAnswer, 120 * MS, 260 * MS));
        assert!(times_out(&outage, 252));
    }

    /// What an outage means, word for word: from some request on that has failed, none was answered for two timeouts.
    fn specification(sent: &[i64], answers: &[i64], now: i64) -> bool {
        let last = answers.iter().copied().max().unwrap_or(0);
        let in_vain = sent.iter().filter(|&&sent| sent >= last + PRECISION);
        in_vain.min().is_some_and(|first| now - first >= 200 * MS)
    }

    proptest! {
        /// A store that stops and goes on as it likes; requests that it answers at once, or when it goes on, or too late.
        #[test]
        fn it_is_an_outage_exactly_as_the_specification_says(
            pauses in prop::collection::vec((1..400_i64, 0..600_i64), 1..8),
            gaps in prop::collection::vec(1..150_i64, 1..80),
        ) {
            let outage = outage();
            // When the store stands still, ms.
            let mut still = Vec::new();
            let mut clock = 0;
            for (runs, stands) in pauses {
                still.push(clock + runs..clock + runs + stands);
                clock += runs + stands;
            }
            // `(when, sent, answered)`, ms.
            let mut events = Vec::new();
            let mut sent = 2;
            for gap in gaps {
                sent += gap;
                let pause = still.iter().find(|pause| pause.contains(&sent));
                let answer = pause.map_or(sent, |pause| pause.end);
                events.push((answer.min(sent + 100), sent, answer <= sent + 100));
            }
            events.sort_unstable();
            let (mut failed, mut answers) = (Vec::new(), Vec::new());
            for (when, sent, is_answered) in events {
                let now = when * MS;
                if is_answered {
                    outage.answered(now);
                    answers.push(now);
                } else {
                    failed.push(sent * MS);
                    let is_outage = outage.failed(Failure::NoAnswer, sent * MS, now);
                    let now_failed = sent * MS >= answers.last().copied().unwrap_or(0) + PRECISION;
                    let expected = now_failed && specification(&failed, &answers, now);
                    prop_assert_eq!(is_outage, expected, "at {} ms", when);
                }
            }
        }
    }
}
