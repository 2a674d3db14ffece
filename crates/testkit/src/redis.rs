//! A Redis server.

use std::{path::PathBuf, process::Command, time::Duration};

use ::redis::{self, AsyncConnectionConfig, Client};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Process, eventually, find, free_port, process};

/// How long a command of a test may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server: `redis-server`, or what the environment names in `SHUNT_TEST_REDIS_SERVER`, such as Valkey.
fn program() -> PathBuf {
    let other = std::env::var_os("SHUNT_TEST_REDIS_SERVER").map(PathBuf::from);
    other.unwrap_or_else(|| find("redis-server").expect("redis-server"))
}

/// A Redis server for one test. It keeps its port when it is killed and restarted, and forgets its data.
pub struct Redis {
    process: Option<Process>,
    port: u16,
    directory: TempDir,
    arguments: Vec<String>,
    configuration: Option<String>,
    has_clock: bool,
}

impl Redis {
    /// Starts a server, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more arguments for `redis-server`.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let mut redis = Self::stopped(arguments);
        redis.restart().await;
        redis
    }

    /// Starts a server whose clock [can be set](Self::set_clock) while it runs. Needs libfaketime.
    pub async fn start_with_clock() -> Self {
        let mut redis = Self::stopped(&[]);
        redis.has_clock = true;
        redis.set_clock(0);
        redis.restart().await;
        redis
    }

    /// Sets how many seconds the server's clock is ahead of the machine's, from the next time it is read.
    pub fn set_clock(&self, seconds: i64) {
        assert!(self.has_clock, "started with a clock of its own");
        let next = self.directory.path().join("clock.next");
        std::fs::write(&next, format!("{seconds:+}\n")).expect("a file");
        std::fs::rename(&next, self.clock_file()).expect("renamed");
    }

    fn clock_file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// Starts a Sentinel, which keeps its state in the file at `configuration`.
    pub async fn start_sentinel(configuration: &str) -> Self {
        let mut sentinel = Self::stopped(&["--sentinel"]);
        sentinel.configuration = Some(configuration.to_owned());
        sentinel.restart().await;
        sentinel
    }

    /// A server that does not run yet, and whose port is known.
    pub fn stopped(arguments: &[&str]) -> Self {
        Self {
            process: None,
            port: free_port(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            configuration: None,
            has_clock: false,
        }
    }

    /// Starts the server again after [`kill`](Self::kill), and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = Command::new(program());
        command
            .args(&self.configuration)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--loglevel", "warning", "--dir"])
            .arg(self.directory.path())
            .args(&self.arguments);
        if self.configuration.is_none() {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        if self.has_clock {
            let library = find("libfaketimeMT.so.1").expect("faketime");
            // The C library's allocator must come before jemalloc: faketime allocates while it is asked for the time,
            // and jemalloc asks for the time while it allocates.
            command.env("LD_PRELOAD", format!("{} libc.so.6", library.display()));
            command
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let (process, output) = Process::start(&command);
        process::discard(output);
        self.process = Some(process);
        let client = Client::open(self.url()).expect("a URL");
        eventually("redis-server answers", async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING")
                .query_async::<String>(&mut connection)
                .await
                .ok()
        })
        .await;
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the server with SIGSTOP: connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("running").signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.process.as_ref().expect("running").signal(Signal::CONT);
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// For `redis.url`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's clock, in microseconds since the Unix epoch.
    pub async fn now(&self) -> i64 {
        let (seconds, micros): (i64, i64) = self.command("TIME").await;
        seconds * 1_000_000 + micros
    }

    /// The times that a window log holds, oldest first.
    pub async fn logged(&self, key: &str) -> Vec<i64> {
        let log: Vec<(i64, f64)> = self.command(&format!("ZRANGE {key} 0 -1 WITHSCORES")).await;
        log.into_iter().map(|(_, score)| score as i64).collect()
    }

    /// How many times clients sent a command, such as `zadd`, since the server was started.
    pub async fn calls(&self, command: &str) -> u64 {
        let statistics: String = self.command("INFO commandstats").await;
        let prefix = format!("cmdstat_{command}:calls=");
        let calls = statistics.lines().find_map(|line| {
            let (calls, _) = line.strip_prefix(&prefix)?.split_once(',')?;
            calls.parse().ok()
        });
        calls.unwrap_or(0)
    }

    /// Runs one command, written as in `redis-cli`.
    pub async fn command<T: redis::FromRedisValue>(&self, command: &str) -> T {
        self.words(command.split(' ')).await
    }

    /// Runs one command, whose words may contain spaces.
    pub async fn words<T: redis::FromRedisValue>(
        &self,
        words: impl IntoIterator<Item = &str>,
    ) -> T {
        self.try_words(words).await.expect("an answer")
    }

    /// The same as [`command`](Self::command).
    ///
    /// # Errors
    /// If the server is away or answers with an error.
    pub async fn try_command<T: redis::FromRedisValue>(
        &self,
        command: &str,
    ) -> redis::RedisResult<T> {
        self.try_words(command.split(' ')).await
    }

    async fn try_words<T: redis::FromRedisValue>(
        &self,
        words: impl IntoIterator<Item = &str>,
    ) -> redis::RedisResult<T> {
        let client = Client::open(self.url()).expect("a URL");
        // On a busy machine a server may take longer than the library waits by default.
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&patient);
        let mut connection = connection.await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut connection).await
    }
}
