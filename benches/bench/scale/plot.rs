//! Pictures of series.

use std::{path::Path, process::Command};

use anyhow::Context;
use testkit::find;

use crate::program;

/// Looks for gnuplot before the measurements, which may take half an hour.
///
/// # Errors
/// If gnuplot is not installed.
pub(super) fn check() -> anyhow::Result<()> {
    let gnuplot = find("gnuplot");
    gnuplot
        .map(drop)
        .context("`make bench-scale` installs gnuplot")
}

/// Draws `topic.svg` from the CSV files in a folder, as `benches/plots/topic.gp` says.
///
/// # Errors
/// If gnuplot fails.
pub(super) async fn draw(topic: &str, folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(find("gnuplot").context("gnuplot is gone")?);
    command
        .arg("-e")
        .arg(format!("folder = '{}'", folder.display()))
        .arg("benches/plots/common.gp")
        .arg(format!("benches/plots/{topic}.gp"));
    program::output(&command).await.map(drop)
}
