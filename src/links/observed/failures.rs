//! What a store fails at, and what of it is worth a line in the log.
//!
//! An operation that fails is on the list until it would succeed: until the very same thing, done again, succeeds. That the
//! store answers something else proves nothing: it may be read-only, or have lost a table, a right or the room to write.
//!
//! One line says when the store begins to fail, and one when it does nothing wrong any more. Between them a line more is
//! written only for news: another operation fails while the store answers, or the store ceases to answer at all.

use crate::{
    links::{LinkOperation, ShortCode, Write},
    telemetry::Operation as _,
};

/// What a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::links) enum Operation {
    /// To look up a code that nobody has: whether it answers at all.
    Ping,
    /// To look up where codes lead.
    LookUp,
    /// To store a link.
    Insert,
    /// To count a visit.
    Visit,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Ping, Self::LookUp, Self::Insert, Self::Visit];

    /// The operation in metrics.
    pub(super) fn measured(self) -> LinkOperation {
        match self {
            Self::Ping => LinkOperation::Ping,
            Self::LookUp => LinkOperation::LookUp,
            Self::Insert => LinkOperation::Insert,
            Self::Visit => LinkOperation::Visit,
        }
    }

    /// The name in logs, which is the one in metrics.
    pub(super) fn name(self) -> &'static str {
        self.measured().name()
    }

    /// What does not work if it fails.
    fn impossible(self) -> &'static str {
        match self {
            Self::Ping => "the database does not answer",
            Self::LookUp => "links cannot be looked up",
            Self::Insert => "links cannot be made",
            Self::Visit => "visits cannot be counted",
        }
    }

    /// A bit of its own.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What has to succeed for an operation not to fail any more.
#[derive(Clone, Debug)]
pub(in crate::links) enum Trial {
    /// These can be looked up.
    LookUp(Vec<ShortCode>),
    /// This would be stored.
    Write(Write),
}

/// A line to be logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This fails, for this reason.
    Fails(Operation, String),
    /// Nothing fails any more.
    IsBack,
}

#[derive(Debug)]
struct Failure {
    error: String,
    /// `None` for a ping: it is its own trial.
    trial: Option<Trial>,
    /// What failed last. Tried once the trial succeeds: it may have failed for reasons of its own.
    next: Option<Trial>,
    /// Whether the log says that this fails although the store answers.
    said: bool,
}

/// The operations that fail at the moment.
#[derive(Debug, Default)]
pub(super) struct Failures {
    of: [Option<Failure>; 4],
    /// Whether the last line in the log may stand for a store that does not answer at all.
    outage_said: bool,
}

impl Failures {
    /// The bits of all operations that fail.
    pub(super) fn bits(&self) -> u8 {
        let failing = |operation: &Operation| self.of[*operation as usize].is_some();
        let operations = Operation::ALL.into_iter().filter(failing);
        operations.map(Operation::bit).sum()
    }

    /// What the operation's users are told, and why.
    pub(super) fn reason(&self, operation: Operation) -> Option<String> {
        let failure = self.of[operation as usize].as_ref()?;
        Some(format!("{}: {}", operation.impossible(), failure.error))
    }

    /// An operation has failed.
    pub(super) fn failed(
        &mut self,
        operation: Operation,
        error: String,
        trial: Trial,
    ) -> Option<News> {
        let first = self.bits() == 0;
        match &mut self.of[operation as usize] {
            Some(failure) => {
                failure.next = Some(trial);
                failure.error = error;
                None
            }
            empty => {
                *empty = Some(Failure {
                    error: error.clone(),
                    trial: Some(trial),
                    next: None,
                    said: first,
                });
                if !first {
                    return None;
                }
                self.outage_said = true;
                Some(News::Fails(operation, error))
            }
        }
    }

    /// The store does not answer.
    pub(super) fn ping_failed(&mut self, error: String) -> Option<News> {
        // One outage explains them all; what still fails after it is news.
        for failure in self.of.iter_mut().flatten() {
            failure.said = false;
        }
        self.of[Operation::Ping as usize] = Some(Failure {
            error: error.clone(),
            trial: None,
            next: None,
            said: true,
        });
        let news = !self.outage_said;
        self.outage_said = true;
        news.then_some(News::Fails(Operation::Ping, error))
    }

    /// The store answers.
    pub(super) fn ping_succeeded(&mut self) -> Option<News> {
        self.remove(Operation::Ping)
    }

    /// What is to be tried, of the operations that fail.
    pub(super) fn trials(&self) -> Vec<(Operation, Trial)> {
        let trial = |operation: Operation| {
            let failure = self.of[operation as usize].as_ref()?;
            Some((operation, failure.trial.clone()?))
        };
        Operation::ALL.into_iter().filter_map(trial).collect()
    }

    /// The trial of an operation has failed, though the store answers.
    pub(super) fn trial_failed(&mut self, operation: Operation, error: String) -> Option<News> {
        self.outage_said = false;
        let failure = self.of[operation as usize].as_mut()?;
        failure.error.clone_from(&error);
        let news = !std::mem::replace(&mut failure.said, true);
        news.then_some(News::Fails(operation, error))
    }

    /// The trial of an operation has succeeded.
    pub(super) fn trial_succeeded(&mut self, operation: Operation) -> Option<News> {
        let failure = self.of[operation as usize].as_mut()?;
        if let Some(next) = failure.next.take() {
            failure.trial = Some(next);
            return None;
        }
        self.remove(operation)
    }

    fn remove(&mut self, operation: Operation) -> Option<News> {
        self.of[operation as usize].take()?;
        (self.bits() == 0).then(|| {
            self.outage_said = false;
            News::IsBack
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial::Write(Write::any())
    }

    fn fails(operation: Operation, error: &str) -> Option<News> {
        Some(News::Fails(operation, error.to_owned()))
    }

    #[test]
    fn an_outage_is_said_once_when_it_begins_and_once_when_it_ends() {
        let mut failures = Failures::default();
        let refused = || "refused".to_owned();
        let said = failures.failed(Operation::Insert, refused(), trial());
        assert_eq!(said, fails(Operation::Insert, "refused"));
        assert_eq!(failures.failed(Operation::LookUp, refused(), trial()), None);
        for _ in 0..3 {
            assert_eq!(failures.ping_failed(refused()), None);
            assert_eq!(failures.failed(Operation::Insert, refused(), trial()), None);
        }
        assert_eq!(failures.ping_succeeded(), None);
        assert_eq!(failures.trial_succeeded(Operation::LookUp), None);
        assert_eq!(
            failures.trial_succeeded(Operation::Insert),
            None,
            "what failed last has still to be tried"
        );
        assert_eq!(
            failures.trial_succeeded(Operation::Insert),
            Some(News::IsBack)
        );
        assert_eq!(failures.bits(), 0);
    }

    #[test]
    fn an_outage_that_nobody_asks_anything_in_is_said() {
        let mut failures = Failures::default();
        let said = failures.ping_failed("refused".to_owned());
        assert_eq!(said, fails(Operation::Ping, "refused"));
        assert_eq!(failures.ping_failed("refused".to_owned()), None);
        assert_eq!(failures.ping_succeeded(), Some(News::IsBack));
        assert_eq!(failures.ping_succeeded(), None);
    }

    #[test]
    fn a_store_that_answers_but_takes_no_writes_is_said_once_however_often_it_is_tried() {
        let mut failures = Failures::default();
        let error = || "read-only".to_owned();
        assert!(
            failures
                .failed(Operation::Insert, error(), trial())
                .is_some()
        );
        for _ in 0..3 {
            assert_eq!(failures.ping_succeeded(), None);
            assert_eq!(failures.trial_failed(Operation::Insert, error()), None);
            assert_eq!(failures.failed(Operation::Insert, error(), trial()), None);
        }
        // Another thing that fails while the store answers is another thing to know.
        assert_eq!(failures.failed(Operation::Visit, error(), trial()), None);
        assert_eq!(failures.trial_failed(Operation::Insert, error()), None);
        assert_eq!(
            failures.trial_failed(Operation::Visit, error()),
            fails(Operation::Visit, "read-only")
        );
        assert_eq!(failures.trial_failed(Operation::Visit, error()), None);
    }

    #[test]
    fn an_outage_of_a_store_that_took_no_writes_before_is_said_and_so_is_what_is_left_after_it() {
        let mut failures = Failures::default();
        let error = || "read-only".to_owned();
        failures.failed(Operation::Insert, error(), trial());
        failures.trial_failed(Operation::Insert, error());
        let said = failures.ping_failed("refused".to_owned());
        assert_eq!(said, fails(Operation::Ping, "refused"));
        assert_eq!(failures.ping_failed("refused".to_owned()), None);
        assert_eq!(failures.ping_succeeded(), None);
        assert_eq!(
            failures.trial_failed(Operation::Insert, error()),
            fails(Operation::Insert, "read-only")
        );
        assert_eq!(failures.trial_failed(Operation::Insert, error()), None);
        assert_eq!(
            failures.trial_succeeded(Operation::Insert),
            Some(News::IsBack)
        );
    }
}
