//! The parts that do no I/O: `benches/micro.rs`.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::{program, runner::Runner};

/// Builds and runs the micro-benchmarks, each for a short time. Their output is kept and is not part of the table.
///
/// This comes last, because cargo also rebuilds the program, with the features that tests add to its dependencies.
///
/// # Errors
/// If they cannot be built or fail.
pub(crate) async fn run(runner: &mut Runner<'_>) -> anyhow::Result<()> {
    eprintln!("micro: building");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "bench", "--locked", "--bench", "micro", "--no-run", "--quiet",
    ]);
    build.arg("--message-format=json");
    let messages = program::output(&build).await?;
    let built = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_meant = message["target"]["name"] == "micro";
        is_meant.then(|| message["executable"].as_str().map(str::to_owned))?
    });
    eprintln!("micro: running");
    // Not through cargo: killed, it would leave them running.
    let mut micro = Command::new(built.context("cargo built no micro-benchmarks")?);
    micro.args(["--bench", "--quiet", "--noplot"]);
    micro.args(["--warm-up-time", "1", "--measurement-time", "2"]);
    let output = program::output(&micro).await?;
    let command =
        "$ cargo bench --bench micro -- --quiet --noplot --warm-up-time 1 --measurement-time 2";
    runner.keep("micro", &format!("{command}\n\n{output}"));
    Ok(())
}
