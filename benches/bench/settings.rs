//! What the user asked for.

use std::{collections::BTreeSet, fmt, num::NonZeroUsize};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{conditions, scenario::Scenario};

/// Seconds for which servers are loaded before each measurement.
pub(crate) const WARM_UP: u32 = 2;

/// Connections of wrk, which has one thread.
pub(crate) const CONNECTIONS: u32 = 64;

/// Postgres sessions of a node, and of pgbench.
pub(crate) const SESSIONS: u32 = 16;

/// What the user asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) warm_up_seconds: u32,
    pub(crate) connections: u32,
    pub(crate) database_sessions: u32,
    /// Worker threads of each server, as many as there are cores.
    pub(crate) workers: usize,
    #[serde(skip)]
    scenarios: BTreeSet<Scenario>,
    /// The command that asks for the same again.
    pub(crate) command: String,
    /// What both sides of every share have in common. Results of older versions do not have it.
    #[serde(default)]
    pub(crate) both_sides: String,
}

impl Settings {
    /// Reads the environment. Without names it takes all scenarios.
    ///
    /// # Errors
    /// If a variable is not a number from 1.
    pub(crate) fn new(only: &[Scenario]) -> anyhow::Result<Self> {
        let rounds = number("BENCH_ROUNDS", 3)?;
        let seconds = number("BENCH_SECONDS", 5)?;
        let mut command = format!("BENCH_ROUNDS={rounds} BENCH_SECONDS={seconds} scripts/bench");
        if !only.is_empty() {
            let names: Vec<_> = only.iter().map(|scenario| scenario.name()).collect();
            command = format!("{command} --only {}", names.join(","));
        }
        let wanted = if only.is_empty() {
            Scenario::value_variants()
        } else {
            only
        };
        let needed = wanted.iter().filter_map(|scenario| scenario.needs());
        Ok(Self {
            rounds,
            seconds,
            warm_up_seconds: WARM_UP,
            connections: CONNECTIONS,
            database_sessions: SESSIONS,
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            scenarios: wanted.iter().copied().chain(needed).collect(),
            command,
            both_sides: conditions::described(),
        })
    }

    /// Reads the environment for `make bench-scale`. `sizes` and `topics` are the rest of the command.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn for_scale(sizes: &str, topics: &str) -> anyhow::Result<Self> {
        let mut settings = Self::new(&[])?;
        // Each size is measured once: the curve over all sizes is the result.
        settings.rounds = 1;
        let seconds = settings.seconds;
        settings.command =
            format!("BENCH_SECONDS={seconds} {sizes} scripts/bench scale --only {topics}");
        Ok(settings)
    }

    /// In the order in which they are measured.
    pub(crate) fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        self.scenarios.iter().copied()
    }

    pub(crate) fn includes(&self, scenario: Scenario) -> bool {
        self.scenarios.contains(&scenario)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds, seconds, ..
        } = self;
        writeln!(f, "command     {}", self.command)?;
        writeln!(
            f,
            "measured    {rounds} times {seconds} s, each after {} s of warm-up",
            self.warm_up_seconds
        )?;
        writeln!(
            f,
            "with        {} connections of wrk, {} workers per server, {} sessions with Postgres",
            self.connections, self.workers, self.database_sessions
        )?;
        write!(f, "both sides  {}", self.both_sides)
    }
}

/// A number from 1 in an environment variable.
///
/// # Errors
/// If it is anything else.
pub(crate) fn number(name: &str, default: u32) -> anyhow::Result<u32> {
    let number = match std::env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name}: expected a whole number, not `{text}`"))?,
        Err(_) => default,
    };
    ensure!(number > 0, "{name}: expected a number from 1");
    Ok(number)
}
