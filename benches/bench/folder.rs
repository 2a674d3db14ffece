//! A folder in `benches/results`: numbers together with their machine, commit and command.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{machine::Machine, runner::Raw, settings::Settings};

const RESULTS: &str = "benches/results";

/// The folder of one run.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates a folder named after the day and the commit. The second run on the same day and commit is `…-2`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn create(prefix: &str, machine: &Machine) -> anyhow::Result<Self> {
        let day = machine.date.split(' ').next().unwrap_or_default();
        let changes = if machine.has_changes { "-dirty" } else { "" };
        let name = format!("{RESULTS}/{prefix}{day}-{}{changes}", machine.commit);
        let mut folder = PathBuf::from(&name);
        let mut number = 1;
        while folder.exists() {
            number += 1;
            folder = PathBuf::from(format!("{name}-{number}"));
        }
        fs::create_dir_all(folder.join("raw")).context(name)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.0.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Writes the output of programs.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_raw(&self, raw: &Raw) -> anyhow::Result<()> {
        raw.iter()
            .try_for_each(|(name, text)| self.write(&format!("raw/{name}"), text))
    }

    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_machine(
        &self,
        machine: &Machine,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        self.write("machine.txt", &format!("{machine}\n{settings}\n"))
    }

    /// Writes the page to read first.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_page(
        &self,
        machine: &Machine,
        settings: &Settings,
        text: &str,
    ) -> anyhow::Result<()> {
        let page = format!(
            "# {}\n\n```console\n$ {}\n```\n\n{text}\n\
             On which machine: [machine.txt](machine.txt). What is measured, and how: `benches/README.md`.\n",
            machine.title(),
            settings.command,
        );
        self.write("results.md", &page)
    }
}
