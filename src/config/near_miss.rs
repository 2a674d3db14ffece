//! Variables that are nearly one of Shunt's.
//!
//! Other programs write to the environment: for a service called `shunt`, Kubernetes sets `SHUNT_PORT`,
//! `SHUNT_SERVICE_HOST` and many more, and Docker does so for a link of that name. A variable that Shunt does not know
//! is therefore no error. But a variable that spells a key with other separators was most likely meant for Shunt, and
//! is a warning.

use super::{Config, PREFIX};

/// The section whose keys begin with a name that the operator chooses.
const POLICIES: &str = "limiter.policies";

/// Keys that the default configuration does not have, because they are unset by default.
const UNSET: [&str; 7] = [
    "http.client_ip_header",
    "http.public_url",
    "limiter.nodes",
    "links.home_url",
    "links.not_found_url",
    "redis.url",
    POLICIES,
];

/// The variable that was probably meant by `name`, which Shunt does not read.
pub(super) fn variable(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix("SHUNT_")?;
    let (rest, suffix) = match rest.strip_suffix("_FILE") {
        Some(rest) => (rest, "_FILE"),
        None => (rest, ""),
    };
    let spelled = letters(rest);
    if spelled.starts_with(&letters(POLICIES)) {
        return Some(format!("{PREFIX}LIMITER__POLICIES__NAME__KEY"));
    }
    let key = keys().into_iter().find(|key| letters(key) == spelled)?;
    let key = key.to_ascii_uppercase().replace('.', "__");
    Some(format!("{PREFIX}{key}{suffix}"))
}

/// The letters and digits of a name, in capitals: a name without the separators of its words.
fn letters(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.collect::<String>().to_ascii_uppercase()
}

/// Every key. Those of policies are left out: they begin with `limiter.policies`.
pub(super) fn keys() -> Vec<String> {
    let mut keys: Vec<String> = UNSET.map(str::to_owned).into();
    if let Ok(defaults) = toml::Table::try_from(Config::default()) {
        collect(&defaults, "", &mut keys);
    }
    keys
}

fn collect(table: &toml::Table, prefix: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            toml::Value::Table(table) if key != POLICIES => {
                collect(table, &format!("{key}."), keys);
            }
            _ => keys.push(key),
        }
    }
}
