//! `sqlite://path/to/file.db`

use std::{path::Path, str::FromStr};

use sqlx::sqlite::SqliteConnectOptions;

/// A parsed `sqlite:` URL.
#[derive(Clone, Debug)]
pub struct SqliteUrl(SqliteConnectOptions);

impl FromStr for SqliteUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "not an SQLite URL: expected sqlite://path/to/file.db";
        if !text.starts_with("sqlite:") {
            return Err(error);
        }
        let options = SqliteConnectOptions::from_str(text).map_err(|_| error)?;
        Ok(Self(options))
    }
}

impl SqliteUrl {
    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.0.get_filename()
    }

    pub(super) fn connect_options(&self) -> SqliteConnectOptions {
        self.0.clone()
    }

    pub(super) fn is_in_memory(&self) -> bool {
        let path = self.path().to_string_lossy();
        path.contains(":memory:") || path.contains("mode=memory") || path.contains("sqlx-in-memory")
    }
}
