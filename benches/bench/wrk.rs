//! Runs wrk, and reads what the scripts in `benches/wrk` print.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, ensure};
use testkit::find;

use crate::{program, settings::CONNECTIONS};

/// Which requests go to which server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// A file in `benches/wrk`.
    pub(crate) script: &'static str,
    pub(crate) server: SocketAddr,
    pub(crate) path: String,
    /// How many clients take turns.
    pub(crate) clients: u64,
    /// The script's further arguments.
    pub(crate) arguments: Vec<String>,
}

/// Enough that no client comes again within a measurement.
const CLIENTS: u64 = 1_000_000;

impl Target {
    /// Requests from a million clients.
    pub(crate) fn new(script: &'static str, server: SocketAddr, path: &str) -> Self {
        Self {
            script,
            server,
            path: path.to_owned(),
            clients: CLIENTS,
            arguments: Vec::new(),
        }
    }
}

/// What wrk measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    duration: Duration,
    /// Answers of 400 and above.
    pub(crate) failed_answers: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    /// The command and its output.
    pub(crate) raw: String,
}

impl Measured {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.duration.as_secs_f64()
    }
}

/// Sends requests for this many seconds, numbered from `first`.
///
/// # Errors
/// If wrk fails, a connection failed, or nothing was answered.
pub(crate) async fn run(target: &Target, seconds: u32, first: u64) -> anyhow::Result<Measured> {
    let mut command = Command::new(find("wrk").context("`make tools` installs wrk")?);
    let script = format!("benches/wrk/{}", target.script);
    let url = format!("http://{}{}", target.server, target.path);
    command
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")])
        .args(["--latency", "-s", &script, &url, "--"])
        .args([first.to_string(), target.clients.to_string()])
        .args(&target.arguments);
    let output = program::output(&command).await?;
    let raw = format!("{}\n\n{output}", program::shown("wrk", &command));
    let measured = parse(&output).with_context(|| format!("unexpected output: {raw}"))?;
    let [
        requests,
        micros,
        failed_answers,
        failed_connections,
        p50,
        p99,
        p999,
    ] = measured;
    ensure!(failed_connections == 0, "connections failed: {raw}");
    ensure!(requests > 0, "nothing was answered: {raw}");
    Ok(Measured {
        requests,
        duration: Duration::from_micros(micros),
        failed_answers,
        p50: Duration::from_micros(p50),
        p99: Duration::from_micros(p99),
        p999: Duration::from_micros(p999),
        raw,
    })
}

fn parse(output: &str) -> Option<[u64; 7]> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("measured "))?;
    let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}
