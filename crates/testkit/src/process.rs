//! Child processes that never outlive the process that started them.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A shell script that runs a program, prints its pid, and ends it when standard input closes. The kernel closes that
/// pipe however the tests end, so servers end even if no destructor runs.
///
/// Arguments: the signal that ends the program, the program, its arguments.
const GUARD: &str = r#"
    signal=$1
    shift
    exec 3<&0
    # The child itself prints its pid, before it becomes the program: the program may print at once.
    sh -c 'echo "$$"; exec "$@"' sh "$@" </dev/null 3<&- &
    pid=$!
    exec 2>/dev/null
    (cat <&3 >/dev/null; kill -CONT "$pid"; kill -"$signal" "$pid"; sleep 5; kill -KILL "$pid") &
    wait "$pid"
    code=$?
    # The program has ended by itself: stop the subshell that waits to kill it.
    kill "$!"
    [ -z "$GUARD_REMOVES" ] || rm -rf "$GUARD_REMOVES"
    exit "$code"
"#;

/// A child process. It is killed when this is dropped.
pub struct Process {
    guard: Child,
    alive: Option<ChildStdin>,
    pid: Pid,
}

impl Process {
    /// Starts a program that SIGKILL ends, and returns it with its standard output.
    pub fn start(command: &Command) -> (Self, BufReader<impl Read + Send + use<>>) {
        Self::start_to_be_stopped(command, "KILL")
    }

    /// Starts a program whose children would survive its SIGKILL. `signal` (such as `QUIT`) is sent instead: it must
    /// end the program and its children at once.
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

    /// Sends the program a signal. After [`Signal::STOP`], none of its threads does anything more when this returns.
    #[expect(
        clippy::disallowed_methods,
        reason = "it takes a moment, and nothing else is to happen meanwhile"
    )]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process is there");
        if signal == Signal::STOP {
            // A thread that waits for a processor stops when it gets one.
            for _ in 0..1_000 {
                if self.is_stopped() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            panic!("the program goes on");
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let mut threads = threads.expect("the process is there").flatten();
        threads.all(|thread| {
            // `pid (name) state …`, and a name may contain anything.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
            state.is_none_or(|state| state.starts_with(['T', 'Z', 'X']))
        })
    }

    /// The process id of the program.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until the program ends by itself, and returns its exit code. Blocks.
    pub fn wait(&mut self) -> i32 {
        let code = self.guard.wait().expect("the guard").code();
        code.expect("the guard itself was not killed")
    }

    /// Whether the program has ended.
    pub fn has_ended(&mut self) -> bool {
        self.guard.try_wait().expect("the guard").is_some()
    }

    /// Ends the program at once, and waits until it is gone.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            // Closing the pipe makes the guard end it.
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

/// Finds a program in the `PATH` and where Debian installs servers, or a library of faketime.
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

/// Reads and forgets what a program prints, so that the program never waits for a reader.
pub(crate) fn discard(mut output: impl Read + Send + 'static) {
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
}
