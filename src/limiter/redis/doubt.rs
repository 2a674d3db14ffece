//! Answers that Redis has to give twice, pure: time is an argument, in µs on any clock that cannot be set.
//!
//! A Redis that stands still, and then goes on, answers what lies in its sockets, one connection after the other. Some
//! of these requests may have waited too long: their nodes have decided them by themselves, and their entries still lie
//! in the sockets when Redis answers others. Such an answer counts too few entries. So a request whose answer comes
//! late is sent once more, and so is each that was under way when a late answer came. When Redis reads it again, it has
//! read every socket since it went on.
//!
//! **Late** means half of what a request may wait beyond the usual round trip. A node decides a request by itself only
//! after a whole timeout. So Redis has stood still for a whole timeout, less the round trip, before one of its answers
//! can count too few. With half of that, a node notices every such standstill if it has sent one request in the first
//! half of it. If late meant less, answers on a busy machine would often be asked for twice; if it meant more, more
//! standstills would pass unnoticed.
//!
//! **What remains**: if a node has sent its only requests in the second half of the standstill, it takes the answers
//! for prompt. And a prompt answer on one connection may be used just before the late one on another connection of the
//! same node is noticed. Nor does a second answer count what has left the log meanwhile: a request of another node that
//! came a moment later, and was read first, has removed what left its own window in that moment.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// An answer that takes no longer than this beyond the usual round trip is prompt, µs: a busy machine takes so long.
const PROMPT: i64 = 5_000;

/// Remembers when an answer last came late.
#[derive(Debug)]
pub(in crate::limiter) struct Doubt {
    timeout: i64,
    /// The usual round trip, µs.
    round_trip: AtomicI64,
    /// When Redis last answered.
    answered: AtomicI64,
    /// When a late answer was last noticed.
    noticed: AtomicI64,
}

impl Doubt {
    pub(in crate::limiter) fn new(timeout: Duration) -> Self {
        Self {
            timeout: i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX),
            round_trip: AtomicI64::new(0),
            answered: AtomicI64::new(i64::MIN),
            noticed: AtomicI64::new(i64::MIN),
        }
    }

    /// A round trip without any wait takes so long, µs.
    pub(in crate::limiter) fn usual_round_trip(&self, micros: i64) {
        self.round_trip.store(micros, Ordering::Relaxed);
    }

    /// Redis has answered something.
    pub(in crate::limiter) fn answered(&self, now: i64) {
        self.answered.fetch_max(now, Ordering::Relaxed);
    }

    /// When Redis last answered: since then it may stand still.
    pub(in crate::limiter) fn last_answered(&self) -> i64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether an answer that came at `received` may count too few. The request was sent at `sent`, when Redis had last
    /// answered at `ran`.
    pub(in crate::limiter) fn concerns(&self, ran: i64, sent: i64, received: i64) -> bool {
        let usual = self.round_trip.load(Ordering::Relaxed).min(self.timeout);
        let late = usual + (self.timeout - usual) / 2;
        let is_prompt = received - sent <= usual + PROMPT;
        if !is_prompt && received.saturating_sub(ran) > late {
            self.noticed.fetch_max(received, Ordering::Relaxed);
        }
        self.answered(received);
        sent < self.noticed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    fn doubt() -> Doubt {
        Doubt::new(Duration::from_millis(100))
    }

    #[test]
    fn a_prompt_answer_is_believed() {
        let doubt = doubt();
        assert!(!doubt.concerns(0, 0, MS));
        assert!(!doubt.concerns(10 * MS, 10 * MS, 60 * MS));
    }

    /// Whatever this node did before: it may have sent nothing for long.
    #[test]
    fn an_answer_as_prompt_as_ever_is_believed_after_a_long_pause() {
        let doubt = doubt();
        doubt.usual_round_trip(MS);
        let pause = 1_000 * MS;
        assert!(!doubt.concerns(0, pause, pause + MS + PROMPT));
        assert!(doubt.concerns(0, pause, pause + MS + PROMPT + 1));
    }

    #[test]
    fn a_late_answer_is_not_and_the_next_one_is() {
        let doubt = doubt();
        assert!(doubt.concerns(10 * MS, 10 * MS, 61 * MS));
        assert!(!doubt.concerns(61 * MS, 61 * MS, 62 * MS));
        assert!(doubt.concerns(62 * MS, 62 * MS, 113 * MS), "late again");
    }

    #[test]
    fn what_was_under_way_when_an_answer_came_late_is_not_believed_either() {
        let doubt = doubt();
        assert!(doubt.concerns(10 * MS, 10 * MS, 90 * MS));
        assert!(doubt.concerns(80 * MS, 80 * MS, 91 * MS));
        assert!(doubt.concerns(90 * MS - 1, 90 * MS - 1, 92 * MS));
        assert!(!doubt.concerns(90 * MS, 90 * MS, 92 * MS));
    }

    #[test]
    fn a_slow_network_is_not_late() {
        let doubt = doubt();
        doubt.usual_round_trip(60 * MS);
        assert!(!doubt.concerns(0, 0, 80 * MS));
        assert!(doubt.concerns(0, 0, 80 * MS + 1));
        // Longer than a request may wait: then no answer comes in time anyway.
        doubt.usual_round_trip(500 * MS);
        assert!(!doubt.concerns(200 * MS, 200 * MS, 300 * MS));
    }
}
