//! Compares two results.

use crate::{
    report::{Report, table},
    row::{Better, Row},
};

/// A smaller difference is chance.
const NOTABLE: f64 = 0.10;

/// A Markdown table of what both results have. It compares shares where there are any: requests per second of one
/// machine say nothing about another machine, and little about the same machine on another day.
pub(crate) fn table_of(before: &Report, after: &Report) -> String {
    let header = ["", "A", "B", "B / A", ""].map(str::to_owned);
    let rows: Vec<_> = after
        .rows
        .iter()
        .filter_map(|row| {
            let same = before.rows.iter().find(|other| other.name == row.name)?;
            Some(cells(same, row))
        })
        .collect();
    let caution = if before.both_sides() == after.both_sides() {
        ""
    } else {
        "Shares of A and B do not compare: machine.txt says what both sides of a share have in common.\n"
    };
    format!(
        "A: {}\nB: {}\n{caution}\n{}",
        before.title(),
        after.title(),
        table(&header, &rows)
    )
}

fn cells(before: &Row, after: &Row) -> [String; 5] {
    let shares = before.share().zip(after.share());
    let (a, b) = shares.unwrap_or_else(|| (before.median(), after.median()));
    let ratio = b / a;
    let better = match after.better {
        Better::Higher => ratio > 1.0,
        Better::Lower => ratio < 1.0,
    };
    let verdict = match ((ratio - 1.0).abs() > NOTABLE, better) {
        (false, _) => "",
        (true, true) => "better by more than 10 %",
        (true, false) => "**worse by more than 10 %**",
    };
    [
        after.name.clone(),
        format!("{a:.2}"),
        format!("{b:.2}"),
        format!("{ratio:.2}"),
        verdict.to_owned(),
    ]
}
