//! Whether the files that the connections have open are still those at their paths.
//!
//! A file that is removed or replaced lives on for those who have it open, and with them it ends: what is written to it then
//! is gone when the process is. The same goes for the write-ahead log and the file that coordinates its users.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::links::StoreError;

/// The files of a database, as they were when it was opened.
#[derive(Clone, Debug)]
pub(super) struct OpenFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Vec<(PathBuf, Identity)>,
    write_ahead_log: PathBuf,
    /// The first of the files that was found to be gone, by its number; [`ALL_THERE`] if none.
    gone: AtomicUsize,
}

const ALL_THERE: usize = usize::MAX;

/// What tells files apart, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl OpenFiles {
    /// The files of the database at `path`, which is open. Those that SQLite puts beside it are where they are without
    /// symbolic links; and not there at all if the file system allows no write-ahead log.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let real = fs::canonicalize(&path)?;
        let beside = |suffix| {
            let mut name = OsString::from(&real);
            name.push(suffix);
            PathBuf::from(name)
        };
        let mut files = vec![(path.clone(), Identity::of(&path)?)];
        for file in [beside("-wal"), beside("-shm")] {
            if let Ok(identity) = Identity::of(&file) {
                files.push((file, identity));
            }
        }
        Ok(Self(Arc::new(Inner {
            files,
            write_ahead_log: beside("-wal"),
            gone: AtomicUsize::new(ALL_THERE),
        })))
    }

    /// Compares, and remembers what it finds for [`known`](Self::known). In a thread of its own: a file system may
    /// hang.
    ///
    /// # Errors
    /// [`StoreError::FileGone`] if one is not the same any more.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let this = self.clone();
        let checked = tokio::task::spawn_blocking(move || this.compare()).await;
        checked.map_err(|error| StoreError::Database(error.into()))?
    }

    fn compare(&self) -> Result<(), StoreError> {
        let mut files = self.0.files.iter();
        let gone = files.position(|(path, identity)| match Identity::of(path) {
            Ok(now) => now != *identity,
            // Whoever may not look knows nothing.
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        });
        self.0
            .gone
            .store(gone.unwrap_or(ALL_THERE), Ordering::Relaxed);
        self.result(gone)
    }

    /// What the last comparison found.
    ///
    /// # Errors
    /// [`StoreError::FileGone`] if one was not the same any more.
    pub(super) fn known(&self) -> Result<(), StoreError> {
        self.result(Some(self.0.gone.load(Ordering::Relaxed)))
    }

    fn result(&self, gone: Option<usize>) -> Result<(), StoreError> {
        match gone.and_then(|number| self.0.files.get(number)) {
            None => Ok(()),
            Some((path, _)) => Err(StoreError::FileGone(path.clone())),
        }
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
