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

use crate::{Client, Database, Process, Redis, eventually, find};

/// A running node. It is killed when this is dropped.
pub struct Node {
    process: Process,
    public: SocketAddr,
    management: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _directory: Arc<TempDir>,
}

/// The user id of `nobody`.
const NOBODY: u32 = 65_534;

/// How a node is configured. By default it uses no Redis and no Postgres, listens on free ports, has two workers, logs
/// JSON, and stops without waiting for a load balancer (`http.drain` is 0).
#[derive(Clone)]
pub struct NodeBuilder {
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    directory: Arc<TempDir>,
    clock: Option<String>,
    unprivileged: bool,
    program: PathBuf,
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
            program: program(),
        }
    }
}

impl NodeBuilder {
    /// Sets a configuration key, as `--set KEY=VALUE` does.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Counts in this Redis.
    pub fn redis(self, redis: &Redis) -> Self {
        let url = redis.url();
        self.set("redis.url", &url)
    }

    /// Keeps links in this database.
    pub fn postgres(self, database: &Database) -> Self {
        let url = database.url();
        self.set("database.url", &url)
    }

    /// Runs the program as `nobody` if the tests run as root. In production it is never root.
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = rustix::process::geteuid().is_root();
        if self.unprivileged {
            let nobody = Some(NOBODY);
            std::os::unix::fs::chown(self.directory.path(), nobody, nobody).expect("chown");
            // The user may have no access to the folder of the checkout.
            std::fs::copy(&self.program, self.directory.path().join("shunt")).expect("a copy");
        }
        self
    }

    /// Runs another build of the program, such as that of a former release.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// Shifts the node's wall clock by seconds, such as `+3600` or `-5`. Needs libfaketime.
    pub fn clock(mut self, shift: &str) -> Self {
        self.clock = Some(shift.to_owned());
        self
    }

    /// The program with these arguments, followed by the configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if self.unprivileged {
            let mut command = Command::new("setpriv");
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            let program = self.directory.path().join("shunt");
            command.args(ids).arg("--clear-groups").arg(program);
            command
        } else {
            Command::new(&self.program)
        };
        if let Some(shift) = &self.clock {
            // Only the wall clock: an administrator cannot step a monotonic one.
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

    /// Starts the program and returns at once. The log grows as the program writes it.
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

/// The path of the program. Cargo puts tests (`target/debug/deps`) and examples (`target/release/examples`) one folder
/// below it.
pub fn program() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let folder = this.ancestors().nth(2).expect("a folder of Cargo's");
    folder.join("shunt")
}

/// The addresses in the log line that says where the node listens: public and management.
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
    /// The configuration of a node that is yet to be started.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// Starts a node with the default configuration: SQLite, and limits counted in its process.
    pub async fn embedded() -> Self {
        Self::builder().start().await
    }

    /// Where it serves clients.
    pub fn address(&self) -> SocketAddr {
        self.public
    }

    /// Where it serves health and metrics.
    pub fn management(&self) -> SocketAddr {
        self.management
    }

    /// The process id of the program.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// A client of this node at 127.0.0.1.
    pub fn client(&self) -> Client {
        self.client_at([127, 0, 0, 1])
    }

    /// A client of this node at an address in 127.0.0.0/8.
    pub fn client_at(&self, address: [u8; 4]) -> Client {
        Client::new(IpAddr::V4(Ipv4Addr::from(address)), self.public)
    }

    /// A client of the management listener.
    pub fn probe(&self) -> Client {
        Client::new(Ipv4Addr::LOCALHOST.into(), self.management)
    }

    /// The sum of a metric over all label sets that contain `labels`, such as `outcome="refused"`.
    ///
    /// # Panics
    /// If `docs/metrics.md` does not list the metric: the sum would be 0, whatever the node does.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics().await.sum(name, labels)
    }

    /// Waits until the sum of a metric over all label sets is `value`.
    ///
    /// # Panics
    /// As [`metric`](Self::metric), and if it takes a minute.
    pub async fn becomes(&self, metric: &str, value: f64) {
        eventually(&format!("{metric} is {value}"), async || {
            (self.metric(metric, &[]).await == value).then_some(())
        })
        .await;
    }

    /// Waits until the breaker in front of Redis is open, or closed.
    ///
    /// # Panics
    /// If it takes a minute.
    pub async fn breaker_is(&self, open: bool) {
        let value = f64::from(u8::from(open));
        self.becomes("shunt_limiter_breaker_open", value).await;
    }

    /// All metrics, as they are at one moment.
    pub async fn metrics(&self) -> Metrics {
        Metrics(self.probe().get("/metrics").await.body)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the node ends by itself, and returns its exit code.
    pub async fn exit_code(&mut self) -> i32 {
        eventually("the node ends", async || {
            self.process.has_ended().then_some(())
        })
        .await;
        self.process.wait()
    }

    /// Kills the node and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until this many log lines contain `part`, and returns them. A node writes its log in the background, a moment
    /// after the answer to the request that a line is about.
    ///
    /// # Panics
    /// If there are more such lines, or not as many within the bound of [`eventually`].
    pub async fn logged(&self, part: &str, count: usize) -> Vec<String> {
        let lines = eventually(&format!("{count} log lines with `{part}`"), async || {
            let lines = self.log_lines(part);
            (lines.len() >= count).then_some(lines)
        })
        .await;
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    /// The log lines so far that contain `part`. For lines that a test expects, use [`logged`](Self::logged).
    pub fn log_lines(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().expect("no panic");
        log.iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }
}

/// The metrics of a node.
pub struct Metrics(String);

impl Metrics {
    /// The sum of a metric over all label sets that contain `labels`, such as `outcome="refused"`.
    ///
    /// # Panics
    /// If `docs/metrics.md` does not list the metric: the sum would be 0, whatever the node does.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        assert_documented(name);
        let values = self.0.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let matches = metric.split('{').next() == Some(name)
                && labels.iter().all(|label| metric.contains(label));
            matches.then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }
}

/// Panics unless `docs/metrics.md` lists the metric, or the histogram that it is a series of.
fn assert_documented(name: &str) {
    const PAGE: &str = include_str!("../../../docs/metrics.md");
    let series = ["_count", "_sum"].iter();
    let family = series.filter_map(|suffix| name.strip_suffix(suffix)).next();
    let listed = |name: &str| PAGE.contains(&format!("| `{name}` |"));
    assert!(
        listed(name) || family.is_some_and(listed),
        "{name} is not in docs/metrics.md"
    );
}
