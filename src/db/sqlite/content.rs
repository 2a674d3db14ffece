//! Whether anything other than SQLite has written to the files of a database.
//!
//! `cp old.db shunt.db` and a log rotator's `: > shunt.db-wal` change files in place: they are still the same files,
//! but their contents do not match any more. SQLite itself, in any process, says in the `-shm` file what it is about to
//! do:
//!
//! - It writes to the database only in checkpoints, and announces each (`nBackfillAttempted`) before it writes. So if
//!   the database was modified without an announcement, something else modified it.
//! - It restarts or truncates the log only after it has said so (salts, `mxFrame`). So until then the log begins with
//!   those salts and has all the frames that were committed.
//!
//! See "The WAL-Index File Format" in <https://sqlite.org/walformat.html>.

use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::identity::Identity;

/// The length of what is read: two copies of the header, and the state of checkpoints.
const INDEX_LENGTH: usize = 136;

/// The length of one copy of the header.
const INDEX_HEADER: usize = 48;

const LOG_HEADER: usize = 32;

const FRAME_HEADER: u64 = 24;

/// The first four bytes of a log, but for the last bit, which tells the byte order of its checksums.
const LOG_MAGIC: u32 = 0x377f_0682;

/// What the `-shm` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index {
    page_size: u64,
    /// How many frames of the log are committed.
    frames: u32,
    /// Differ whenever the log is restarted.
    salts: [u8; 8],
    /// How many frames are folded into the database.
    folded: u32,
    /// How many may be folded in, if the present checkpoint, or one that was cut short, got that far.
    attempted: u32,
}

impl Index {
    /// `None` while a process is writing it.
    fn parse(bytes: &[u8; INDEX_LENGTH]) -> Option<Self> {
        let (header, copy) = bytes[..2 * INDEX_HEADER].split_at(INDEX_HEADER);
        let is_initialized = bytes[12] != 0;
        if header != copy || !is_initialized {
            return None;
        }
        let number = |at: usize| Some(u32::from_ne_bytes(bytes[at..at + 4].try_into().ok()?));
        // 64 KiB are written as 1.
        let page_size = u64::from(u16::from_ne_bytes([bytes[14], bytes[15]]));
        Some(Self {
            page_size: if page_size == 1 { 1 << 16 } else { page_size },
            frames: number(16)?,
            salts: bytes[32..40].try_into().ok()?,
            folded: number(96)?,
            attempted: number(128)?,
        })
    }

    /// Stays the same as long as no checkpoint begins or ends.
    fn checkpoint(&self) -> ([u8; 8], u32, u32) {
        (self.salts, self.folded, self.attempted)
    }
}

/// What a write to a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modified {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// The files, and their state at the last look.
#[derive(Debug)]
pub(super) struct Content {
    database: (PathBuf, Identity),
    log: (PathBuf, File),
    /// Never closed: closing it would release all of SQLite's locks that this process has on the file.
    index: ManuallyDrop<File>,
    seen: Mutex<Option<(Index, Modified)>>,
}

impl Content {
    pub(super) fn of(database: (PathBuf, Identity), log: &Path, index: &Path) -> io::Result<Self> {
        let this = Self {
            database,
            log: (log.to_path_buf(), File::open(log)?),
            index: ManuallyDrop::new(File::open(index)?),
            seen: Mutex::new(None),
        };
        this.changed();
        Ok(this)
    }

    /// The first file that something other than SQLite has written to since the last look. Also `None` if the files
    /// cannot be looked at just now.
    pub(super) fn changed(&self) -> Option<&Path> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.index()?;
        let log_changed = self.log_differs(&before);
        let modified = self.modified()?;
        // Read after `modified`: a checkpoint that had modified the database by then is announced by now.
        let after = self.index()?;
        if log_changed && before.salts == after.salts {
            return Some(&self.log.0);
        }
        // Keeps the older index: what is modified after that look is announced after it.
        let (last, last_modified) = seen.replace((before, modified))?;
        let is_announced =
            last.checkpoint() != after.checkpoint() || after.folded != after.attempted;
        (modified != last_modified && !is_announced).then_some(&self.database.0)
    }

    fn index(&self) -> Option<Index> {
        let mut bytes = [0; INDEX_LENGTH];
        // SQLite may be writing it, which takes a moment.
        (0..8).find_map(|_| {
            self.index.read_exact_at(&mut bytes, 0).ok()?;
            Index::parse(&bytes)
        })
    }

    /// Whether the log lacks frames, or is not the log that the index describes.
    fn log_differs(&self, index: &Index) -> bool {
        if index.frames == 0 {
            return false;
        }
        let Ok(metadata) = self.log.1.metadata() else {
            return false;
        };
        let frames = u64::from(index.frames) * (FRAME_HEADER + index.page_size);
        if metadata.len() < LOG_HEADER as u64 + frames {
            return true;
        }
        let mut header = [0; LOG_HEADER];
        if self.log.1.read_exact_at(&mut header, 0).is_err() {
            return false;
        }
        let magic = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        magic & !1 != LOG_MAGIC || header[16..24] != index.salts
    }

    /// `None` if the file is not there, or is another file.
    fn modified(&self) -> Option<Modified> {
        let metadata = fs::metadata(&self.database.0).ok()?;
        (Identity::from(&metadata) == self.database.1).then(|| Modified {
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}
