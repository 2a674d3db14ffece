//! Keys as a table for people, and as JSON for programs.

use humantime::format_rfc3339_seconds;
use serde::Serialize;
use shunt::keys::{KeyRecord, Scope};

const HEAD: [&str; 7] = [
    "NAME", "OWNER", "SCOPES", "QUOTA", "CREATED", "EXPIRES", "STATE",
];

/// A head and a line for each key; nothing if there is no key.
pub(super) fn table(keys: &[KeyRecord]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let head = HEAD.map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(keys.iter().map(row)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(key: &KeyRecord) -> [String; 7] {
    let or = |text: Option<String>, other: &str| text.unwrap_or_else(|| other.to_owned());
    [
        key.name.to_string(),
        key.owner.to_string(),
        key.scopes.to_string(),
        or(key.quota.map(|quota| quota.to_string()), "default"),
        format_rfc3339_seconds(key.created_at).to_string(),
        or(
            key.expires_at
                .map(|at| format_rfc3339_seconds(at).to_string()),
            "never",
        ),
        key.state.to_string(),
    ]
}

/// A key as a member of the array.
#[derive(Serialize)]
struct Entry<'a> {
    id: i64,
    name: &'a str,
    owner: &'a str,
    scopes: Vec<&'static str>,
    quota: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    state: String,
}

/// An array, on one line.
pub(super) fn json(keys: &[KeyRecord]) -> serde_json::Result<String> {
    let entries: Vec<_> = keys
        .iter()
        .map(|key| Entry {
            id: key.id.0,
            name: key.name.as_str(),
            owner: key.owner.as_str(),
            scopes: key.scopes.iter().map(Scope::name).collect(),
            quota: key.quota.map(|quota| quota.to_string()),
            created_at: format_rfc3339_seconds(key.created_at).to_string(),
            expires_at: key
                .expires_at
                .map(|at| format_rfc3339_seconds(at).to_string()),
            state: key.state.to_string(),
        })
        .collect();
    Ok(serde_json::to_string(&entries)? + "\n")
}
