//! What came of it: the table, and what is kept of it.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{folder::Folder, machine::Machine, runner::Raw, settings::Settings};

/// Which way numbers improve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What was promised of a median.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    ShareAtLeast(f64),
    /// In the unit of the row.
    AtMost(f64),
}

/// One number of a round, and what it is compared with.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Round {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<f64>,
}

/// One thing that was measured, in every round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    title: String,
    unit: String,
    pub(crate) better: Better,
    /// What the references are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) share_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wanted: Option<Wanted>,
    rounds: Vec<Round>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// Whether a note says that the promise is broken, whatever the numbers are.
    #[serde(default)]
    pub(crate) broken: bool,
}

impl Row {
    pub(crate) fn new(name: &str, title: &str, unit: &str, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            unit: unit.to_owned(),
            better,
            share_of: None,
            wanted: None,
            rounds: Vec::new(),
            notes: Vec::new(),
            broken: false,
        }
    }

    pub(crate) fn add(&mut self, value: f64, reference: Option<f64>) {
        self.rounds.push(Round { value, reference });
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.value).collect()
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.values())
    }

    /// The median of the shares, each of its own round.
    pub(crate) fn share(&self) -> Option<f64> {
        let share = |round: &Round| Some(round.value / round.reference?);
        let shares: Vec<f64> = self.rounds.iter().filter_map(share).collect();
        (!shares.is_empty()).then(|| median(&shares))
    }

    fn is_kept(&self) -> Option<bool> {
        let kept = match self.wanted? {
            Wanted::ShareAtLeast(share) => self.share()? >= share,
            Wanted::AtMost(most) => self.median() <= most,
        };
        Some(kept && !self.broken)
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: f64| match &*self.unit {
            "req/s" | "bytes" => format!("{value:.0}"),
            "ms" => format!("{value:.2}"),
            _ => format!("{value:.1}"),
        };
        let share = self.share().zip(self.share_of.as_ref());
        let rounds: Vec<_> = self
            .rounds
            .iter()
            .map(|round| number(round.value))
            .collect();
        [
            self.title.clone(),
            format!("{} {}", number(self.median()), self.unit),
            share.map_or_else(String::new, |(share, of)| format!("{share:.2} of {of}")),
            match self.wanted {
                Some(Wanted::ShareAtLeast(share)) => format!("≥ {share:.2}"),
                Some(Wanted::AtMost(most)) => format!("≤ {most} {}", self.unit),
                None => String::new(),
            },
            match self.is_kept() {
                Some(true) => "yes".to_owned(),
                Some(false) => "**no**".to_owned(),
                None => String::new(),
            },
            rounds.join(" "),
        ]
    }
}

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
        if !notes.is_empty() {
            let _ = write!(text, "\n{notes}");
        }
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

/// The number in the middle, or the mean of the two that are.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length => f64::midpoint(sorted[(length - 1) / 2], sorted[length / 2]),
    }
}
