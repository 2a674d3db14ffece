//! The names of metrics are the same in the code, in `docs/metrics.md`, in the dashboard and in the alerts.
//!
//! Without this, a metric that is renamed in one place is a panel without data, an alert that never fires, or a test
//! that compares a sum over nothing with 0.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// The words of a text that begin with `shunt_` and come directly after `before`.
fn names(text: &str, before: &str) -> BTreeSet<String> {
    let starts = text.match_indices("shunt_").map(|(at, _)| at);
    let starts = starts.filter(|&at| text[..at].ends_with(before));
    let name = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    starts.map(name).collect()
}

/// Every `metrics.rs` below a folder.
fn metrics_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(metrics_files(&path));
        } else if path.ends_with("metrics.rs") {
            files.push(path);
        }
    }
    files
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_page_lists_every_metric_and_no_other() {
    let mut registered = BTreeSet::new();
    for file in metrics_files(&repository("src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        registered.extend(names(&text, "\""));
    }
    assert!(registered.contains("shunt_http_requests_total"));
    assert_eq!(names(PAGE, "| `"), registered);
}

#[test]
fn the_dashboard_and_the_alerts_use_no_other_metric() {
    let known = names(PAGE, "| `");
    for file in [
        "docker/grafana/dashboards/shunt.json",
        "docker/prometheus/alerts.yml",
    ] {
        let text = fs::read_to_string(repository(file)).expect(file);
        let used = names(&text, "");
        assert!(!used.is_empty(), "{file}");
        for name in used {
            let series = ["_bucket", "_sum", "_count"].iter();
            let family = series.filter_map(|suffix| name.strip_suffix(suffix)).next();
            let family = family.unwrap_or(&name);
            assert!(known.contains(family), "{file}: {name}");
        }
    }
}
