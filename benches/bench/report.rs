//! The result of a run: the table, and the files of its folder.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{folder::Folder, machine::Machine, row::Row, runner::Raw, settings::Settings};

/// Everything about one run.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    settings: Settings,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(settings: &Settings, machine: Machine, rows: Vec<Row>) -> Self {
        Self {
            machine,
            settings: settings.clone(),
            rows,
        }
    }

    /// # Errors
    /// If the folder holds no results.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("results.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Date and commit.
    pub(crate) fn title(&self) -> String {
        self.machine.title()
    }

    /// What both sides of its shares have in common.
    pub(crate) fn both_sides(&self) -> &str {
        &self.settings.both_sides
    }

    /// For a terminal.
    pub(crate) fn summary(&self) -> String {
        format!("\n{}\n\n{}", self.machine, self.table())
    }

    /// In Markdown.
    fn table(&self) -> String {
        let header = ["", "median", "share", "wanted", "kept", "of each round"].map(str::to_owned);
        let rows: Vec<_> = self.rows.iter().map(Row::cells).collect();
        let mut text = table(&header, &rows);
        let notes = self.rows.iter().flat_map(|row| {
            let note = |note: &String| format!("- {}: {note}\n", row.title);
            row.notes.iter().map(note).collect::<Vec<_>>()
        });
        let notes: String = notes.collect();
        let both_sides = &self.settings.both_sides;
        let _ = write!(text, "\n{notes}- both sides of every share: {both_sides}\n");
        text
    }

    /// Writes everything to a folder of its own, and returns which.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn write(&self, raw: &Raw) -> anyhow::Result<PathBuf> {
        let folder = Folder::create("", &self.machine)?;
        folder.write_raw(raw)?;
        folder.write_machine(&self.machine, &self.settings)?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        folder.write("results.json", &json)?;
        folder.write_page(&self.machine, &self.settings, &self.table())?;
        Ok(folder.path().to_owned())
    }
}

/// A table that is one in Markdown, and can be read as it is.
pub(crate) fn table<const N: usize>(header: &[String; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([header])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = widths.map(|width| "-".repeat(width));
    let lines = [header, &rule].into_iter().chain(rows).map(line);
    lines.collect()
}
