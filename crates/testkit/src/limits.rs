//! A full disk: a file system that is small, and a process whose files may not grow.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

/// A file system in memory, of any size. It is unmounted when this is dropped.
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Mounts one of `size`, such as `512k`. Without root it cannot be mounted: then this prints so and returns `None`.
    ///
    /// # Panics
    /// If it cannot be mounted and the environment has `CI=true`.
    pub fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = format!("size={size},mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]);
        let mounted = mount.arg(directory.path()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { directory });
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "a file system cannot be mounted"
        );
        eprintln!("skipped: a file system cannot be mounted (not as root?)");
        None
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Changes its size.
    pub fn resize(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]);
        let resized = mount.arg(self.path()).status().expect("mount");
        assert!(resized.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily (-l), since a process may still use it.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("-l").arg(self.path()).status();
    }
}

/// Sets how large the files of a running process may grow, as `ulimit -f` does. `None` removes the limit, as far as
/// this process may.
pub fn limit_file_size(pid: i32, bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes.or(maximum),
        maximum,
    };
    let pid = Pid::from_raw(pid).expect("a pid");
    prlimit(Some(pid), Resource::Fsize, limit).expect("the process is there");
}
