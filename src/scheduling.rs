//! How the kernel takes turns between the threads of this process and those of others.

use std::io;

use serde::{Deserialize, Serialize};

/// How the kernel schedules threads: one of its policies for ordinary threads, which need no privilege. See sched(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// As the process was started: `SCHED_OTHER`, the kernel's default, unless systemd's `CPUSchedulingPolicy` or
    /// `chrt` says otherwise. A thread that wakes up may take the processor from another thread at once.
    #[default]
    Normal,
    /// `SCHED_BATCH`: a thread that wakes up waits until the running thread has finished its turn, a few milliseconds
    /// at most.
    ///
    /// This helps where the clients or Redis run on the same cores. A worker answers everything that has come in since
    /// it last ran. If it takes the processor from the program that sends the requests, both only wake up more often,
    /// for less work each time. Where other programs keep every core busy, answers take longer.
    Batch,
}

impl Scheduling {
    /// Schedules this thread, and those that it starts from now on, in this way.
    ///
    /// # Errors
    /// If the kernel, or a sandbox, does not allow it.
    pub fn apply(self) -> io::Result<()> {
        if self == Self::Batch {
            let parameters = uapi::c::sched_param { sched_priority: 0 };
            uapi::sched_setscheduler(0, uapi::c::SCHED_BATCH, &parameters)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy of this thread. See proc(5): field 41, where a name in parentheses is field 2.
    fn policy() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("its state");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let policy = fields.split(' ').nth(41 - 3).expect("a policy");
        policy.parse().expect("a number")
    }

    #[test]
    fn normal_keeps_what_the_process_was_started_with() {
        let before = policy();
        Scheduling::Normal.apply().expect("nothing to do");
        assert_eq!(policy(), before);
        Scheduling::Batch.apply().expect("allowed");
        Scheduling::Normal.apply().expect("nothing to do");
        assert_eq!(policy(), uapi::c::SCHED_BATCH);
    }
}
