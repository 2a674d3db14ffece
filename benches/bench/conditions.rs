//! What both sides of every share have in common: how the kernel schedules their threads, and which allocator gives
//! them memory. A share says nothing about the program if the sides differ in these.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

/// `http.scheduling` of every node: the policy that all other processes here inherit.
pub(crate) const SCHEDULING: &str = "normal";

/// As sched(7) numbers it.
const SCHED_OTHER: &str = "0";

/// A text that every program with this allocator contains.
const ALLOCATOR: &str = "mimalloc";

/// For the table and `machine.txt`.
pub(crate) fn described() -> String {
    format!(
        "all threads are scheduled as SCHED_OTHER (http.scheduling = {SCHEDULING}); bare and nodes use {ALLOCATOR}"
    )
}

/// Requires that this process, and with it all that it starts, is scheduled as nodes are.
///
/// # Errors
/// If it is not.
pub(crate) fn check_inherited() -> anyhow::Result<()> {
    check_scheduling(Path::new("/proc/self"))
        .context("all servers and load generators but the nodes inherit the policy of this process")
}

/// Requires that a running server, a node or what it is compared with, is scheduled so and has this allocator.
///
/// # Errors
/// If it is not, or has not.
pub(crate) fn check(pid: i32) -> anyhow::Result<()> {
    let process = Path::new("/proc").join(pid.to_string());
    check_scheduling(&process)?;
    let program = fs::read(process.join("exe"))?;
    ensure!(
        memchr::memmem::find(&program, ALLOCATOR.as_bytes()).is_some(),
        "a server does not use {ALLOCATOR}"
    );
    Ok(())
}

fn check_scheduling(process: &Path) -> anyhow::Result<()> {
    for thread in fs::read_dir(process.join("task"))? {
        // A thread may end meanwhile.
        if let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) {
            let policy = policy(&stat).with_context(|| format!("unexpected: {stat}"))?;
            ensure!(
                policy == SCHED_OTHER,
                "a thread is scheduled by policy {policy} of sched(7) instead of SCHED_OTHER"
            );
        }
    }
    Ok(())
}

/// Field 41 of `/proc/PID/task/TID/stat`. The name of the thread, in parentheses, is the second and may contain spaces.
fn policy(stat: &str) -> Option<&str> {
    let (_, from_the_third) = stat.rsplit_once(") ")?;
    from_the_third.split(' ').nth(41 - 3)
}
