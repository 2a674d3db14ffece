//! A table of measurements at one size after another.

use std::time::Duration;

use crate::wrk::Measured;

/// A table: the first column is the size.
pub(super) struct Series {
    name: String,
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<f64>>,
}

impl Series {
    /// An empty series for the file `name.csv`. A column's name includes its unit.
    pub(super) fn new(name: &str, title: &str, columns: &[&'static str]) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Vec<f64>) {
        self.rows.push(row);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn csv(&self) -> String {
        self.lines(",", "", "")
    }

    /// In Markdown.
    pub(super) fn table(&self) -> String {
        let rule = "| --- ".repeat(self.columns.len()) + "|\n";
        let lines = self.lines(" | ", "| ", " |");
        match lines.split_once('\n') {
            Some((header, rows)) => format!("{header}\n{rule}{rows}"),
            None => lines,
        }
    }

    fn lines(&self, separator: &str, before: &str, after: &str) -> String {
        let rows = self.rows.iter().map(|row| {
            let cells: Vec<_> = row.iter().map(|&number| shown(number)).collect();
            cells.join(separator)
        });
        std::iter::once(self.columns.join(separator))
            .chain(rows)
            .map(|line| format!("{before}{line}{after}\n"))
            .collect()
    }
}

/// Requests per second, and the median and the 99th percentile of latencies in milliseconds.
pub(super) fn speed(measured: &Measured) -> [f64; 3] {
    let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
    [measured.rate(), millis(measured.p50), millis(measured.p99)]
}

/// A number with three decimals, if they mean anything.
fn shown(number: f64) -> String {
    if number.fract() == 0.0 || number >= 1000.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.3}")
    }
}
