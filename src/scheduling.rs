//! How the kernel takes turns between the threads of this process and those of others.

use std::{fmt, io, str::FromStr};

/// How the kernel schedules threads: one of its policies for ordinary threads, which need no privilege. See sched(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_BATCH`: a thread that wakes up waits for the one that runs to finish its turn, at the most a few
    /// milliseconds.
    ///
    /// A worker answers whatever has come in since it was awake last, so nothing is gained if it takes the processor
    /// from the very program that sends the requests: both then only wake up more often, for less work each time.
    #[default]
    Batch,
    /// `SCHED_OTHER`, the kernel's default: a thread that wakes up may take the processor from another at once.
    Normal,
}

impl Scheduling {
    /// Schedules this thread, and those that it starts from now on, in this way.
    ///
    /// # Errors
    /// If the kernel, or a sandbox, does not allow it.
    pub fn apply(self) -> io::Result<()> {
        let policy = match self {
            Self::Batch => uapi::c::SCHED_BATCH,
            Self::Normal => uapi::c::SCHED_OTHER,
        };
        let parameters = uapi::c::sched_param { sched_priority: 0 };
        uapi::sched_setscheduler(0, policy, &parameters)?;
        Ok(())
    }
}

impl FromStr for Scheduling {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "batch" => Ok(Self::Batch),
            "normal" => Ok(Self::Normal),
            _ => Err("expected `batch` or `normal`"),
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "batch",
            Self::Normal => "normal",
        })
    }
}
