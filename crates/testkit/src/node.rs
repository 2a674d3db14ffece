//! The program itself.

use std::{
    collections::BTreeMap,
    io::BufRead,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Database, Process, Redis, eventually, process::find};

/// A node, on ports of its own.
pub struct Node {
    process: Process,
    public: SocketAddr,
    management: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _directory: Arc<TempDir>,
}

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// How a node is configured; embedded without limits to its drain, unless said otherwise.
#[derive(Clone)]
pub struct NodeBuilder {
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    directory: Arc<TempDir>,
    clock: Option<String>,
    unprivileged: bool,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = [
            ("http.bind", "127.0.0.1:0"),
            ("http.workers", "2"),
            ("http.drain", "0s"),
            ("management.bind", "127.0.0.1:0"),
            ("log.format", "json"),
        ];
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self {
            settings: settings.into_iter().map(own).collect(),
            environment: BTreeMap::new(),
            directory: Arc::new(directory),
            clock: None,
            unprivileged: false,
        }
    }
}

impl NodeBuilder {
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn redis(self, redis: &Redis) -> Self {
        let url = redis.url();
        self.set("redis.url", &url)
    }

    pub fn postgres(self, database: &Database) -> Self {
        let url = database.url();
        self.set("database.url", &url)
    }

    /// As production does: not as root, also where the tests are.
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = rustix::process::geteuid().is_root();
        if self.unprivileged {
            let nobody = Some(NOBODY);
            std::os::unix::fs::chown(self.directory.path(), nobody, nobody).expect("chown");
            // The checkout may be where nobody else can look.
            std::fs::copy(program(), self.directory.path().join("shunt")).expect("a copy");
        }
        self
    }

    /// Shifts the node's wall clock, such as `+3600` or `-5` seconds.
    pub fn clock(mut self, shift: &str) -> Self {
        self.clock = Some(shift.to_owned());
        self
    }

    /// The command line.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if self.unprivileged {
            let mut command = Command::new("setpriv");
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            let program = self.directory.path().join("shunt");
            command.args(ids).arg("--clear-groups").arg(program);
            command
        } else {
            Command::new(program())
        };
        if let Some(shift) = &self.clock {
            // Only the wall clock: a monotonic clock is never stepped.
            let library = find("libfaketimeMT.so.1").expect("faketime");
            command.env("LD_PRELOAD", library);
            command
                .env("FAKETIME", shift)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.args(arguments);
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        for name in ["DATABASE_URL", "REDIS_URL"] {
            command.env_remove(name);
        }
        command.envs(&self.environment);
        command.current_dir(self.directory.path());
        command
    }

    /// Starts the program without waiting for anything.
    pub fn spawn(&self) -> (Process, Arc<Mutex<Vec<String>>>) {
        let (process, output) = Process::start(&self.command(&[]));
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
        (process, log)
    }

    /// Starts the program and waits until it listens.
    pub async fn start(&self) -> Node {
        let (mut process, log) = self.spawn();
        let (public, management) = eventually("the node listens", async || {
            assert!(!process.has_ended(), "the node ended: {log:?}");
            listening(&log.lock().expect("no panic"))
        })
        .await;
        Node {
            process,
            public,
            management,
            log,
            _directory: self.directory.clone(),
        }
    }
}

/// The program: cargo tells integration tests where it is; from an example it is one folder up.
fn program() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_shunt") {
        Some(path) => path.into(),
        None => {
            let example = std::env::current_exe().expect("a path");
            let folder = example.ancestors().nth(2).expect("target/release");
            folder.join("shunt")
        }
    }
}

/// Where a node says that it listens.
fn listening(log: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    log.iter().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let public = event["message"]
            .as_str()?
            .strip_prefix("listening on http://")?;
        let management = event["management"].as_str()?.strip_prefix("http://")?;
        Some((public.parse().ok()?, management.parse().ok()?))
    })
}

impl Node {
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// One that keeps everything to itself.
    pub async fn embedded() -> Self {
        Self::builder().start().await
    }

    pub fn address(&self) -> SocketAddr {
        self.public
    }

    pub fn management(&self) -> SocketAddr {
        self.management
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// A client at 127.0.0.1.
    pub fn client(&self) -> Client {
        self.client_at([127, 0, 0, 1])
    }

    /// A client at an address in 127.0.0.0/8.
    pub fn client_at(&self, address: [u8; 4]) -> Client {
        Client::new(IpAddr::V4(Ipv4Addr::from(address)), self.public)
    }

    /// A client of the management listener.
    pub fn probe(&self) -> Client {
        Client::new(Ipv4Addr::LOCALHOST.into(), self.management)
    }

    /// The sum of a metric over all label sets that contain `labels`, such as `outcome="refused"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.probe().get("/metrics").await.body;
        let values = text.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let matches = metric.split('{').next() == Some(name)
                && labels.iter().all(|label| metric.contains(label));
            matches.then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the node to end by itself and returns its exit code.
    pub async fn exit_code(&mut self) -> i32 {
        eventually("the node ends", async || {
            self.process.has_ended().then_some(())
        })
        .await;
        self.process.wait()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The log lines so far whose text contains `part`.
    pub fn log_lines(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().expect("no panic");
        log.iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }
}
