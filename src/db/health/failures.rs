//! What a database fails at, and which changes of that are worth a log line.
//!
//! An operation that failed stays on the list until the very same thing, done again, succeeds. Another answer of the
//! database proves nothing: it may be read-only, or have lost a table, a right or the room to write.
//!
//! One line says when the database begins to fail, and one when nothing fails any more. Between these two there is
//! another line only for news: another operation fails while the database answers, or the database no longer answers at
//! all.

use std::collections::{BTreeMap, btree_map::Entry};

use super::operation::{Access, Operation, Trial};

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
    /// `None` for a ping, which is its own trial.
    trial: Option<Trial>,
    /// The trial of the latest failure, which may have another reason. It runs once `trial` has succeeded.
    next: Option<Trial>,
    /// Whether the log says that this operation fails although the database answers.
    said: bool,
}

/// The operations that fail at the moment.
#[derive(Debug, Default)]
pub(super) struct Failures {
    of: BTreeMap<Operation, Failure>,
    /// Whether the last log line also covers a database that does not answer at all.
    outage_said: bool,
}

impl Failures {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn contains(&self, operation: Operation) -> bool {
        self.of.contains_key(&operation)
    }

    /// What users of the operation are told, and why; `None` if it does not fail.
    pub(super) fn reason(&self, operation: Operation) -> Option<String> {
        let failure = self.of.get(&operation)?;
        Some(format!("{}: {}", operation.impossible, failure.error))
    }

    /// The reasons of all operations that fail and have this kind of access.
    pub(super) fn reasons(&self, access: Access) -> Vec<String> {
        let operations = self.of.keys().copied();
        operations
            .filter(|operation| operation.access == access)
            .filter_map(|operation| self.reason(operation))
            .collect()
    }

    /// An operation has failed.
    pub(super) fn failed(
        &mut self,
        operation: Operation,
        error: String,
        trial: Trial,
    ) -> Option<News> {
        let first = self.of.is_empty();
        match self.of.entry(operation) {
            Entry::Occupied(mut failure) => {
                let failure = failure.get_mut();
                failure.next = Some(trial);
                failure.error = error;
                None
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Failure {
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

    /// The database does not answer.
    pub(super) fn ping_failed(&mut self, error: String) -> Option<News> {
        // The outage explains all of these failures. What still fails after it is news.
        for failure in self.of.values_mut() {
            failure.said = false;
        }
        let failure = Failure {
            error: error.clone(),
            trial: None,
            next: None,
            said: true,
        };
        self.of.insert(Operation::PING, failure);
        let news = !self.outage_said;
        self.outage_said = true;
        news.then_some(News::Fails(Operation::PING, error))
    }

    /// The database answers.
    pub(super) fn ping_succeeded(&mut self) -> Option<News> {
        self.remove(Operation::PING)
    }

    /// What has to be tried again, of the operations that fail.
    pub(super) fn trials(&self) -> Vec<(Operation, Trial)> {
        let failures = self.of.iter();
        failures
            .filter_map(|(operation, failure)| Some((*operation, failure.trial.clone()?)))
            .collect()
    }

    /// The trial of an operation has failed, though the database answers.
    pub(super) fn trial_failed(&mut self, operation: Operation, error: String) -> Option<News> {
        self.outage_said = false;
        let failure = self.of.get_mut(&operation)?;
        failure.error.clone_from(&error);
        let news = !std::mem::replace(&mut failure.said, true);
        news.then_some(News::Fails(operation, error))
    }

    /// The trial of an operation has succeeded.
    pub(super) fn trial_succeeded(&mut self, operation: Operation) -> Option<News> {
        let failure = self.of.get_mut(&operation)?;
        if let Some(next) = failure.next.take() {
            failure.trial = Some(next);
            return None;
        }
        self.remove(operation)
    }

    fn remove(&mut self, operation: Operation) -> Option<News> {
        self.of.remove(&operation)?;
        self.of.is_empty().then(|| {
            self.outage_said = false;
            News::IsBack
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_UP: Operation = operation(Access::Read, "look_up");
    const INSERT: Operation = operation(Access::Write, "insert");
    const VISIT: Operation = operation(Access::Write, "visit");

    const fn operation(access: Access, name: &'static str) -> Operation {
        let impossible = name;
        Operation {
            access,
            name,
            impossible,
        }
    }

    fn trial() -> Trial {
        Trial::new(|| async { Ok(()) })
    }

    fn fails(operation: Operation, error: &str) -> Option<News> {
        Some(News::Fails(operation, error.to_owned()))
    }

    #[test]
    fn an_outage_is_said_once_when_it_begins_and_once_when_it_ends() {
        let mut failures = Failures::default();
        let refused = || "refused".to_owned();
        let said = failures.failed(INSERT, refused(), trial());
        assert_eq!(said, fails(INSERT, "refused"));
        assert!(!failures.is_empty());
        assert_eq!(failures.failed(LOOK_UP, refused(), trial()), None);
        for _ in 0..3 {
            assert_eq!(failures.ping_failed(refused()), None);
            assert_eq!(failures.failed(INSERT, refused(), trial()), None);
        }
        assert_eq!(failures.ping_succeeded(), None);
        assert_eq!(failures.trial_succeeded(LOOK_UP), None);
        assert_eq!(
            failures.trial_succeeded(INSERT),
            None,
            "what failed last has still to be tried"
        );
        assert_eq!(failures.trial_succeeded(INSERT), Some(News::IsBack));
        assert!(failures.is_empty());
    }

    #[test]
    fn an_outage_without_any_request_is_said() {
        let mut failures = Failures::default();
        let said = failures.ping_failed("refused".to_owned());
        assert_eq!(said, fails(Operation::PING, "refused"));
        assert_eq!(failures.ping_failed("refused".to_owned()), None);
        assert_eq!(failures.ping_succeeded(), Some(News::IsBack));
        assert_eq!(failures.ping_succeeded(), None);
    }

    #[test]
    fn a_database_that_answers_but_takes_no_writes_is_said_once_however_often_it_is_tried() {
        let mut failures = Failures::default();
        let error = || "read-only".to_owned();
        assert!(failures.failed(INSERT, error(), trial()).is_some());
        for _ in 0..3 {
            assert_eq!(failures.ping_succeeded(), None);
            assert_eq!(failures.trial_failed(INSERT, error()), None);
            assert_eq!(failures.failed(INSERT, error(), trial()), None);
        }
        // Another thing that fails while the store answers is another thing to know.
        assert_eq!(failures.failed(VISIT, error(), trial()), None);
        assert_eq!(failures.trial_failed(INSERT, error()), None);
        assert_eq!(
            failures.trial_failed(VISIT, error()),
            fails(VISIT, "read-only")
        );
        assert_eq!(failures.trial_failed(VISIT, error()), None);
    }

    #[test]
    fn an_outage_of_a_database_that_took_no_writes_before_is_said_and_so_is_what_is_left_after_it()
    {
        let mut failures = Failures::default();
        let error = || "read-only".to_owned();
        failures.failed(INSERT, error(), trial());
        failures.trial_failed(INSERT, error());
        let said = failures.ping_failed("refused".to_owned());
        assert_eq!(said, fails(Operation::PING, "refused"));
        assert_eq!(failures.ping_failed("refused".to_owned()), None);
        assert_eq!(failures.ping_succeeded(), None);
        assert_eq!(
            failures.trial_failed(INSERT, error()),
            fails(INSERT, "read-only")
        );
        assert_eq!(failures.trial_failed(INSERT, error()), None);
        assert_eq!(failures.trial_succeeded(INSERT), Some(News::IsBack));
    }
}
