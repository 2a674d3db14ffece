//! Why a database could not answer.

use std::{path::PathBuf, time::Duration};

/// Why a database could not answer.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No answer within the bound that the database was given.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The database is known to be away, so it was not asked.
    #[error("the database is away")]
    Away,
    /// The database answered with an error, cannot be reached, or the connection broke.
    #[error("the database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of the database is no longer at its path. What is written to it now is lost when the process ends.
    #[error(
        "{0} was removed or replaced while the node uses it: put it back, or restart the node to use what is there now"
    )]
    FileGone(PathBuf),
    /// Something other than the database has written to a file of it. Its files no longer match.
    #[error(
        "{0} was changed in place by something other than SQLite while the node uses it: stop the node and restore a backup"
    )]
    FileChanged(PathBuf),
    /// The database has found its file to be damaged, and no check has found it in order since.
    #[error("the database is damaged: nothing is written until a check finds it in order")]
    FileDamaged,
    /// The tables could not be brought up to date.
    #[error("the migrations failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DatabaseError {
    /// A short label for metrics: `timeout`, `away`, `database`, `file` or `migration`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Away => "away",
            Self::Failed(_) => "database",
            Self::FileGone(_) | Self::FileChanged(_) | Self::FileDamaged => "file",
            Self::Migration(_) => "migration",
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}
