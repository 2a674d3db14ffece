//! How the kernel takes turns between the threads of this process and those of others.

use std::io;

use serde::{Deserialize, Serialize};

/// How the kernel schedules threads: one of its policies for ordinary threads, which need no privilege. See sched(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// `SCHED_OTHER`, the kernel's default: a thread that wakes up may take the processor from another thread at once.
    Normal,
    /// `SCHED_BATCH`: a thread that wakes up waits until the running thread has finished its turn, a few milliseconds at most.
    ///
    /// This helps where the clients or Redis run on the same cores. A worker answers everything that has come in since
    /// it last ran. If it takes the processor from the program that sends the requests, both only wake up more often,
    /// for less work each time. Where other programs keep every core busy, answers take longer.
    #[default]
    Batch,
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
