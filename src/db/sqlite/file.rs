//! Whether the files that the connections have open are still those at their paths.
//!
//! A file that is removed or replaced lives on for the processes that have it open, and ends with them: what is written
//! to it is lost when the process ends. The same holds for the write-ahead log and the `-shm` file, which coordinates
//! the processes that use the log. [`Content`] notices what is changed in place.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{content::Content, identity::Identity};
use crate::db::DatabaseError;

/// The files of a database, as they were when it was opened.
#[derive(Clone, Debug)]
pub(super) struct OpenFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Vec<(PathBuf, Identity)>,
    write_ahead_log: PathBuf,
    /// The index in `files` of the first that was found to be gone; [`ALL_THERE`] if none was.
    gone: AtomicUsize,
    /// `None` if the file system allows no write-ahead log.
    content: Option<Content>,
    /// A file that was changed in place. Never reset: what the connections have cached of it is not what is in it.
    changed: OnceLock<PathBuf>,
}

const ALL_THERE: usize = usize::MAX;

impl OpenFiles {
    /// The files of the database at `path`, which is open. SQLite resolves symbolic links and puts its other files
    /// beside the real file; it puts none there if the file system allows no write-ahead log.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let real = fs::canonicalize(&path)?;
        let beside = |suffix| {
            let mut name = OsString::from(&real);
            name.push(suffix);
            PathBuf::from(name)
        };
        let database = (path.clone(), Identity::of(&path)?);
        let (write_ahead_log, index) = (beside("-wal"), beside("-shm"));
        let mut files = vec![database.clone()];
        for file in [&write_ahead_log, &index] {
            if let Ok(identity) = Identity::of(file) {
                files.push((file.clone(), identity));
            }
        }
        let content = match files.len() {
            3 => Some(Content::of(database, &write_ahead_log, &index)?),
            _ => None,
        };
        Ok(Self(Arc::new(Inner {
            files,
            write_ahead_log,
            gone: AtomicUsize::new(ALL_THERE),
            content,
            changed: OnceLock::new(),
        })))
    }

    /// Compares the files with those at their paths, and remembers what it finds for [`known`](Self::known). Runs in a
    /// thread of its own: a file system may hang.
    ///
    /// # Errors
    /// [`DatabaseError::FileGone`] if a file is not the same any more, [`DatabaseError::FileChanged`] if a file was
    /// changed in place.
    pub(super) async fn check(&self) -> Result<(), DatabaseError> {
        let this = self.clone();
        let checked = tokio::task::spawn_blocking(move || this.compare()).await;
        checked.map_err(|error| DatabaseError::Failed(error.into()))?
    }

    fn compare(&self) -> Result<(), DatabaseError> {
        let mut files = self.0.files.iter();
        let gone = files.position(|(path, identity)| match Identity::of(path) {
            Ok(now) => now != *identity,
            // If this process may not look, the file may still be there.
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        });
        self.0
            .gone
            .store(gone.unwrap_or(ALL_THERE), Ordering::Relaxed);
        if gone.is_none()
            && self.0.changed.get().is_none()
            && let Some(changed) = self.0.content.as_ref().and_then(Content::changed)
        {
            // Fails if another thread was faster.
            let _ = self.0.changed.set(changed.to_path_buf());
        }
        self.result(gone)
    }

    /// What the last comparison found.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn known(&self) -> Result<(), DatabaseError> {
        self.result(Some(self.0.gone.load(Ordering::Relaxed)))
    }

    fn result(&self, gone: Option<usize>) -> Result<(), DatabaseError> {
        if let Some(changed) = self.0.changed.get() {
            return Err(DatabaseError::FileChanged(changed.clone()));
        }
        match gone.and_then(|number| self.0.files.get(number)) {
            None => Ok(()),
            Some((path, _)) => Err(DatabaseError::FileGone(path.clone())),
        }
    }

    /// Whether the content of a log that was removed can be saved. It can if the log is gone, the database is not, and
    /// no other process can have begun to use the database without coordinating with this one. Runs in a thread of its
    /// own, as [`check`](Self::check).
    pub(super) async fn only_log_is_gone(&self) -> bool {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let [
                (database, identity),
                (log, log_identity),
                (index, index_identity),
            ] = this.0.files.as_slice()
            else {
                return false;
            };
            let is = |path: &Path, identity: &Identity| {
                Identity::of(path).is_ok_and(|now| now == *identity)
            };
            // Processes that use the same index coordinate. A process with another index would have put another log
            // there.
            is(database, identity)
                && !is(log, log_identity)
                && (is(index, index_identity) || !log.exists())
        });
        looked.await.unwrap_or(false)
    }

    /// Whether the last comparison found a difference.
    pub(super) fn are_gone(&self) -> bool {
        self.0.gone.load(Ordering::Relaxed) != ALL_THERE
    }

    /// How large the write-ahead log is, in bytes; 0 if there is none.
    pub(super) async fn write_ahead_log_size(&self) -> u64 {
        let path = self.0.write_ahead_log.clone();
        let size =
            tokio::task::spawn_blocking(move || fs::metadata(path).map_or(0, |log| log.len()));
        size.await.unwrap_or(0)
    }
}
