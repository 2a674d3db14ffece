//! Child processes that never outlive the tests.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// Runs "$@" after its first argument, prints its pid, and ends it with the signal named first when standard input closes: also
/// when the tests are killed, by whatever, and no destructor runs.
const GUARD: &str = r#"
    signal=$1
    shift
    exec 3<&0
    "$@" </dev/null 3<&- &
    pid=$!
    echo "$pid"
    exec 2>/dev/null
    (cat <&3 >/dev/null; kill -CONT "$pid"; kill -"$signal" "$pid"; sleep 5; kill -KILL "$pid") &
    wait "$pid"
    code=$?
    # Nobody is left to be killed.
    kill "$!"
    [ -z "$GUARD_REMOVES" ] || rm -rf "$GUARD_REMOVES"
    exit "$code"
"#;

/// A server that is killed when this is dropped.
pub struct Process {
    guard: Child,
    alive: Option<ChildStdin>,
    pid: Pid,
}

impl Process {
    /// Starts a program that SIGKILL ends. Its standard output is returned.
    pub fn start(command: &Command) -> (Self, BufReader<impl Read + Send + use<>>) {
        Self::start_to_be_stopped(command, "KILL")
    }

    /// Starts a program whose children SIGKILL would leave behind; the signal named ends them all, at once.
    pub fn start_to_be_stopped(
        command: &Command,
        signal: &str,
    ) -> (Self, BufReader<impl Read + Send + use<>>) {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard", signal]);
        guard.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            guard.current_dir(directory);
        }
        let mut guard = guard
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("sh");
        let mut output = BufReader::new(guard.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a pid");
        let pid = line.trim().parse().expect("a pid");
        let process = Self {
            alive: guard.stdin.take(),
            guard,
            pid: Pid::from_raw(pid).expect("a pid"),
        };
        (process, output)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process is there");
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the program to end by itself.
    pub fn wait(&mut self) -> i32 {
        let code = self.guard.wait().expect("the guard").code();
        code.expect("the guard itself was not killed")
    }

    pub fn has_ended(&mut self) -> bool {
        self.guard.try_wait().expect("the guard").is_some()
    }

    /// Ends it at once, and waits until it is gone.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            // The guard does it, as it would if the tests ended.
            self.alive = None;
            let _ = self.guard.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program or the library of faketime, also where Debian puts servers and that library.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|v| v.path().join("bin")).collect();
        versions.sort();
        folders.splice(0..0, versions.into_iter().rev());
    }
    if let Ok(libraries) = std::fs::read_dir("/usr/lib") {
        folders.extend(
            libraries
                .flatten()
                .map(|folder| folder.path().join("faketime")),
        );
    }
    let candidates = folders.into_iter().map(|folder| folder.join(program));
    candidates.into_iter().find(|path| path.is_file())
}

/// Reads what a program prints to its end, so that it never waits for somebody to read.
pub fn discard(mut output: impl Read + Send + 'static) {
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
}
