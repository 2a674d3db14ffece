//! What a database is asked for, and what must succeed before an operation that failed counts as healthy again.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{db::DatabaseError, telemetry};

/// Whether an operation only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

/// Something that a feature asks its database for. Different operations have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// Whether it only reads.
    pub access: Access,
    /// The name in metrics and logs.
    pub name: &'static str,
    /// What users are told while it fails: `links cannot be made`.
    pub impossible: &'static str,
}

impl Operation {
    /// Asking the database whether it answers at all.
    pub(in crate::db) const PING: Self = Self {
        access: Access::Read,
        name: "ping",
        impossible: "the database does not answer",
    };
}

/// What [`Health`](super::Health) itself asks a database for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthOperation {
    /// To answer at all.
    Ping,
    /// To repeat what has failed, and leave nothing behind.
    Trial,
}

impl telemetry::Operation for HealthOperation {
    const ALL: &'static [Self] = &[Self::Ping, Self::Trial];

    fn name(self) -> &'static str {
        match self {
            Self::Ping => Operation::PING.name,
            Self::Trial => "trial",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// An attempt that can be made again and again, and that leaves nothing behind: the look-up that failed, or the write
/// that failed, which is taken back in the same transaction.
#[derive(Clone)]
pub struct Trial(Arc<Attempt>);

type Attempt = dyn Fn() -> BoxFuture<'static, Result<(), DatabaseError>> + Send + Sync;

impl Trial {
    /// A trial that makes `attempt`.
    pub fn new<F>(attempt: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), DatabaseError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(attempt())))
    }

    /// Makes the attempt once.
    ///
    /// # Errors
    /// [`DatabaseError`] if it fails.
    pub(super) async fn attempt(&self) -> Result<(), DatabaseError> {
        (self.0)().await
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trial")
    }
}

/// How to find out whether a database works while nothing asks it for anything.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Succeeds if the database can be read.
    pub read: Trial,
    /// Succeeds if the database can be written to. Its failure counts as a failure of this operation.
    pub write: (Operation, Trial),
}
