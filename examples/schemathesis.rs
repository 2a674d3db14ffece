//! `make schemathesis`: sends a node requests that follow from the document of its API, good ones and bad ones, on SQLite
//! and on Postgres. Ends with a failure if an answer is not what the document says, or if the node logs an error.
#![allow(
    clippy::expect_used,
    reason = "it ends with a message, and with it all servers"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use testkit::{Node, NodeBuilder, Postgres};

/// The name of the key that the requests have. `hooks.py` knows it, and leaves the key alone.
const OWN_KEY: &str = "schemathesis";

/// Tests the API of a node against its document, on SQLite and on Postgres.
#[derive(Parser)]
struct Arguments {
    /// How long in all, in minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,

    /// The program `schemathesis`
    #[arg(long)]
    program: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { minutes, program } = Arguments::parse();
    let seconds = (minutes * 60.0 / 2.0).max(1.0) as u64;
    let mut is_good = run("SQLite", node(), &program, seconds).await;
    if !testkit::available(&["postgres"]) {
        eprintln!("`make tools` installs postgres");
        return ExitCode::FAILURE;
    }
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    is_good &= run("Postgres", node().postgres(&database), &program, seconds).await;
    match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A node whose quotas no test uses up.
fn node() -> NodeBuilder {
    let quotas = ["limiter.quota", "limiter.per_key"];
    let node = quotas
        .into_iter()
        .fold(Node::builder(), |node, key| node.set(key, "1000000/minute"));
    node.set("http.cors_origins", "https://app.example")
}

/// Whether all went well on this database.
async fn run(database: &str, builder: NodeBuilder, program: &Path, seconds: u64) -> bool {
    println!("\n{database}, {seconds} seconds\n");
    let node = builder.start().await;
    let create = ["keys", "create", "--name", OWN_KEY, "--scope", "admin"];
    let created = builder.command(&create).output().expect("the program");
    let key = String::from_utf8(created.stdout).expect("a key");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/schemathesis");
    let status = Command::new(program)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", node.address()))
        .args(["--max-time", &seconds.to_string()])
        .arg("--continue-on-failure")
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SHUNT_KEY", key.trim())
        // It keeps what it has learnt in its working directory.
        .current_dir(program.ancestors().nth(2).expect("a folder"))
        .status()
        .expect("schemathesis");
    let alive = node.probe().get("/livez").await.status == 200;
    let errors = node.log_lines("\"level\":\"ERROR\"");
    for line in &errors {
        eprintln!("{line}");
    }
    status.success() && alive && errors.is_empty()
}
