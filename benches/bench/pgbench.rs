//! What Postgres itself can do: pgbench runs the statement of a node.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use testkit::find;

use crate::{
    program,
    runner::Runner,
    servers::Servers,
    settings::{SESSIONS, WARM_UP},
    table::Table,
};

const SCRIPT: &str = "insert.sql";

/// The statement is read from this source, so it always is the node's.
const POSTGRES_STORE: &str = include_str!("../../src/links/postgres.rs");

/// pgbench, with a table of its own in the Postgres of the nodes.
pub(crate) struct Pgbench {
    table: Table,
    directory: TempDir,
}

impl Pgbench {
    /// # Errors
    /// If `shunt migrate` cannot make the tables.
    pub(crate) async fn prepare(
        runner: &mut Runner<'_>,
        servers: &Servers,
    ) -> anyhow::Result<Self> {
        let database = servers.postgres.database().await;
        let node = servers.node(runner.settings.workers).postgres(&database);
        program::output(&node.command(&["migrate"])).await?;
        let directory = tempfile::tempdir()?;
        let script = script()?;
        fs::write(directory.path().join(SCRIPT), &script)?;
        runner.keep("pgbench-script", &script);
        Ok(Self {
            table: Table::new(database),
            directory,
        })
    }

    /// Transactions per second.
    ///
    /// # Errors
    /// If one failed, or a link is missing.
    pub(crate) async fn measure(&self, runner: &mut Runner<'_>) -> anyhow::Result<f64> {
        self.table.empty().await?;
        let warm_up = self.run(WARM_UP).await?;
        let measured = self.run(runner.settings.seconds).await?;
        runner.keep("pgbench", &measured.raw);
        self.table
            .expect(warm_up.transactions + measured.transactions, 0)
            .await?;
        Ok(measured.rate)
    }

    async fn run(&self, seconds: u32) -> anyhow::Result<Transactions> {
        let mut command = Command::new(find("pgbench").context("`make tools` installs pgbench")?);
        // As many sessions as a node has. The statement is prepared once, and is the only round trip.
        command
            .args(["-M", "prepared", "-n", "-j", "1", "-f", SCRIPT])
            .args(["-c", &SESSIONS.to_string(), "-T", &seconds.to_string()])
            .arg(self.table.url())
            .current_dir(self.directory.path());
        let output = program::output(&command).await?;
        let raw = format!("{}\n\n{output}", program::shown("pgbench", &command));
        let number = |before: &str| -> Option<f64> {
            let line = output.lines().find_map(|line| line.strip_prefix(before))?;
            line.split(' ').next()?.parse().ok()
        };
        let failed = number("number of failed transactions: ");
        ensure!(failed == Some(0.0), "transactions failed: {raw}");
        let transactions = number("number of transactions actually processed: ");
        let rate = number("tps = ");
        let (transactions, rate) = transactions
            .zip(rate)
            .with_context(|| format!("unexpected output: {raw}"))?;
        Ok(Transactions {
            transactions: transactions as u64,
            rate,
            raw,
        })
    }
}

struct Transactions {
    transactions: u64,
    /// Transactions per second, without the time to connect.
    rate: f64,
    raw: String,
}

/// pgbench's script. It differs from a node in two ways. Postgres makes the values, because pgbench has only numbers:
/// three cheap functions per row, next to a commit that waits for the disk. And a code has 7 characters instead of 6,
/// because pgbench does not try again when a code is taken; an index entry has the same size with either.
fn script() -> anyhow::Result<String> {
    let statement = POSTGRES_STORE
        .split_once("const INSERT_DEDUPLICATED: &str = \"")
        .and_then(|(_, rest)| rest.split_once("\";"))
        .map(|(statement, _)| statement)
        .context("src/links/postgres.rs has no INSERT_DEDUPLICATED")?;
    let url = "'https://example.com/page/' || :n::text";
    let hash = format!("sha256(convert_to({url}, 'UTF8'))");
    let code = format!("left(encode({hash}, 'base64'), 7)");
    let statement = statement
        .replace("$1", &code)
        .replace("$2", url)
        .replace("$3", &hash);
    Ok(format!(
        "\\set n random(1, 1000000000000000)\n{};\n",
        statement.trim()
    ))
}
