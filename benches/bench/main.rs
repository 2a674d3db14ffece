//! `make bench`: measures what this machine does per second, and compares it with what was promised.
//!
//! | modules | what they hold |
//! |---|---|
//! | `row`, `scenario`, `conditions`, `settings` | what can be measured, what is wanted of it, and what was asked for |
//! | `program`, `wrk`, `runner` | the programs that measure |
//! | `counters`, `fill`, `table`, `hot_links` | what servers did, and what they hold |
//! | `servers`, `load`, `pgbench`, `stage` | starts servers, loads them, and proves that they did what is measured |
//! | `latency`, `memory`, `start`, `find`, `micro` | what is not a number of requests per second |
//! | `rounds` | measures one thing after another, each beside what it is compared with |
//! | `machine`, `folder`, `report`, `compare` | the results |
//! | `scale` | how cost grows: `make bench-scale` |
//!
//! A module imports only modules of the rows above it and those to its left in its own row.
//!
//! Servers are those of the tests: they live in temporary directories, and end with this process, however it ends.

mod compare;
mod conditions;
mod counters;
mod fill;
mod find;
mod folder;
mod hot_links;
mod latency;
mod load;
mod machine;
mod memory;
mod micro;
mod pgbench;
mod program;
mod report;
mod rounds;
mod row;
mod runner;
mod scale;
mod scenario;
mod servers;
mod settings;
mod stage;
mod start;
mod table;
mod wrk;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use self::{report::Report, scale::Topic, scenario::Scenario, settings::Settings};

/// Measures Shunt on this machine, as shares of what a bare web server or a bare Postgres does there.
///
/// Every number of requests per second is measured right after what it is compared with, over and over; the table
/// shows medians. It is printed, and written to a folder in benches/results, together with what each program printed.
///
/// BENCH_ROUNDS says how many rounds (default 3), BENCH_SECONDS how long each measurement takes, after a warm-up of 2
/// seconds (default 5).
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Measures only these, and what they are compared with
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<Scenario>,
}

#[derive(Subcommand)]
enum Command {
    /// Says what differs between two results by more than 10 %
    Compare {
        /// A folder in benches/results
        before: PathBuf,
        /// Another such folder
        after: PathBuf,
    },
    /// Says how cost grows with links, clients, nodes and limits: takes up to half an hour
    ///
    /// How far is set by BENCH_SCALE_MAX_LINKS (default 10000000, from 1000), BENCH_SCALE_MAX_CLIENTS (1000000, from
    /// 100), BENCH_SCALE_MAX_NODES (4) and BENCH_SCALE_MAX_LIMIT (10000, from 10).
    Scale {
        /// Measures only these
        #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
        only: Vec<Topic>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = run(arguments) => outcome,
        () = interrupted() => return ExitCode::from(130),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns on SIGINT and SIGTERM. Dropping the measurement then ends all servers.
async fn interrupted() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Command::Compare { before, after }) = &arguments.command {
        let [before, after] = [Report::read(before)?, Report::read(after)?];
        print!("{}", compare::table_of(&before, &after));
        return Ok(());
    }
    // Relative paths in the results then mean the same on every machine.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).context("the repository is gone")?;
    if let Some(Command::Scale { only }) = &arguments.command {
        return scale::run(only).await;
    }
    let settings = Settings::new(&arguments.only)?;
    conditions::check_inherited()?;
    let machine = machine::Machine::describe(settings.workers)?;
    let (rows, raw) = rounds::measure(&settings).await?;
    let report = Report::new(&settings, machine, rows);
    print!("{}", report.summary());
    println!("\nin {}", report.write(&raw)?.display());
    Ok(())
}
