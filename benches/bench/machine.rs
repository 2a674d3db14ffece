//! Where and when the numbers were measured: without its machine a number means nothing.

use std::{
    collections::BTreeMap,
    fmt, fs,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use testkit::find;

/// Where and when the numbers were measured, without the name of the machine and without its paths.
#[derive(Deserialize, Serialize)]
pub(crate) struct Machine {
    /// In UTC.
    pub(crate) date: String,
    /// 12 characters.
    pub(crate) commit: String,
    /// Whether the sources differ from the commit.
    pub(crate) has_changes: bool,
    processor: String,
    cores: usize,
    memory: String,
    kernel: String,
    /// The file system of the databases. On a RAM disk a commit waits for nothing.
    temporary_files: String,
    /// How many processes wanted to run, on average over the minute before.
    load: String,
    versions: BTreeMap<String, String>,
}

impl Machine {
    /// # Errors
    /// If this is no checkout, or one of the servers is missing.
    pub(crate) fn describe(cores: usize) -> anyhow::Result<Self> {
        // New results do not change what is measured.
        let status = ["status", "--porcelain", "--", ".", ":!benches/results"];
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let folder = std::env::temp_dir().display().to_string();
        Ok(Self {
            date: printed("date", &["--utc", "+%Y-%m-%d %H:%M"])?,
            commit: printed("git", &["rev-parse", "--short=12", "HEAD"])?,
            has_changes: !printed("git", &status)?.is_empty(),
            processor: field(&cpuinfo, "model name"),
            cores,
            memory: gibibytes(&field(&meminfo, "MemTotal")),
            kernel: printed("uname", &["-sr"])?,
            temporary_files: printed("stat", &["-f", "-c", "%T", &folder])?,
            load: first_word(&fs::read_to_string("/proc/loadavg")?),
            versions: versions()?,
        })
    }
}

impl Machine {
    /// Date and commit.
    pub(crate) fn title(&self) -> String {
        let changes = if self.has_changes {
            ", with changes"
        } else {
            ""
        };
        format!("{}, commit {}{changes}", self.date, self.commit)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = if self.has_changes {
            ", with changes"
        } else {
            ""
        };
        writeln!(f, "date        {} UTC", self.date)?;
        writeln!(f, "commit      {}{changes}", self.commit)?;
        writeln!(f, "processor   {}, {} cores", self.processor, self.cores)?;
        writeln!(f, "memory      {}", self.memory)?;
        writeln!(f, "kernel      {}", self.kernel)?;
        writeln!(f, "databases   on {}", self.temporary_files)?;
        writeln!(f, "load before {}", self.load)?;
        let versions = self.versions.iter();
        let versions: Vec<_> = versions
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        write!(f, "versions    {}", versions.join(", "))
    }
}

fn versions() -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for (program, argument, before) in [
        ("redis-server", "--version", "v="),
        ("postgres", "--version", "(PostgreSQL) "),
        ("nginx", "-v", "nginx/"),
        ("wrk", "-v", "wrk "),
        ("rustc", "--version", "rustc "),
    ] {
        let path = find(program).with_context(|| format!("`make tools` installs {program}"))?;
        let output = Command::new(path)
            .arg(argument)
            .stdin(Stdio::null())
            .output()?;
        // nginx prints it to standard error, and wrk prints it and fails.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = text.split_once(before).map(|(_, rest)| first_word(rest));
        let version = version.with_context(|| format!("which {program}? {text}"))?;
        versions.insert(program.to_owned(), version);
    }
    Ok(versions)
}

/// The value of the first line with that name.
fn field(text: &str, name: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find(|(field, _)| field.trim() == name);
    value.map_or_else(
        || "unknown".to_owned(),
        |(_, value)| value.trim().to_owned(),
    )
}

/// `24684092 kB`, which are KiB, in a unit that can be read.
fn gibibytes(memory: &str) -> String {
    let kibibytes = first_word(memory).parse::<f64>();
    kibibytes.map_or_else(
        |_| memory.to_owned(),
        |kibibytes| format!("{:.1} GiB", kibibytes / f64::from(1 << 20)),
    )
}

fn first_word(text: &str) -> String {
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn printed(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| program.to_owned())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
