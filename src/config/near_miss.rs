//! Variables that are nearly one of ours.
//!
//! Others write to the environment: for a service called `shunt`, Kubernetes sets `SHUNT_PORT`, `SHUNT_SERVICE_HOST` and
//! many more, and so does Docker for a link of that name. So a variable that is not ours is no error. But one that spells a key
//! with other separators was most likely meant for us.

use super::{Config, PREFIX};

/// Names of policies are free.
const POLICIES: &str = "limiter.policies";

/// Keys that are not in the default configuration, because they are unset.
const UNSET: [&str; 4] = [
    "http.client_ip_header",
    "http.public_url",
    "redis.url",
    POLICIES,
];

/// The variable that was perhaps meant by this one, which is none of ours.
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

/// A name without what separates its words.
fn letters(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.collect::<String>().to_ascii_uppercase()
}

/// Every key that there is, but for those of policies, which begin with the key `limiter.policies`.
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
