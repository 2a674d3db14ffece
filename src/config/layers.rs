//! The layers of a configuration: a file, then the environment, then flags. Each layer wins over the layers before it.

use std::{collections::BTreeMap, path::Path};

use toml::{Table, Value};

use super::{Config, ConfigError, PREFIX, near_miss};

/// The variable that names the file.
const FILE: &str = "SHUNT_CONFIG";

/// The conventional short forms, and the variables that they stand for.
const SHORT_FORMS: [(&str, &str); 2] = [
    ("DATABASE_URL", "SHUNT__DATABASE__URL"),
    ("REDIS_URL", "SHUNT__REDIS__URL"),
];

/// Reads every layer, and merges them. Returns the merged keys, and a warning for each variable that is nearly one of
/// Shunt's.
pub(super) fn merge(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<(Table, Vec<String>), ConfigError> {
    let (mut variables, warnings) = variables(environment)?;
    let named_file = variables.remove(FILE);
    let mut keys = match file.or(named_file.as_deref().map(Path::new)) {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    for (name, value) in &variables {
        if let Some(key) = name.strip_prefix(PREFIX) {
            set(&mut keys, &key.to_lowercase().replace("__", "."), value);
        }
    }
    for (key, value) in flags {
        set(&mut keys, key, value);
    }
    Ok((keys, warnings))
}

/// Whether Shunt reads a variable of this name.
pub(super) fn reads(variable: &str) -> bool {
    let bare = variable.strip_suffix("_FILE").unwrap_or(variable);
    variable.starts_with(PREFIX)
        || variable == FILE
        || SHORT_FORMS.iter().any(|(short, _)| *short == bare)
}

/// A URL in place of a path. It may hold a password, so no part of it is shown.
fn is_url(path: &Path) -> bool {
    path.to_string_lossy().contains("://")
}

const URL_FOR_PATH: &str = "expected the path of a file, found a URL";

fn read(path: &Path) -> Result<Table, ConfigError> {
    if is_url(path) {
        return Err(ConfigError::new("the configuration file", URL_FOR_PATH));
    }
    let wrong = |problem: String| ConfigError::new(path.display().to_string(), problem);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text
            .bytes()
            .take(start)
            .filter(|&byte| byte == b'\n')
            .count();
        wrong(format!("line {line}: {}", error.message()))
    })
}

/// Sets `key`, a path such as `http.bind`, and makes the sections that are missing.
fn set(table: &mut Table, key: &str, value: &str) {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), Value::String(value.to_owned()));
        return;
    };
    let section = table.entry(section).or_insert(Value::Boolean(false));
    if !section.is_table() {
        *section = Value::Table(Table::new());
    }
    if let Value::Table(section) = section {
        set(section, rest, value);
    }
}

/// The variables that Shunt reads, with the content of the file where the name ends with `_FILE`, and without short
/// forms.
fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(BTreeMap<String, String>, Vec<String>), ConfigError> {
    let mut given = BTreeMap::new();
    let mut warnings = Vec::new();
    for (name, value) in environment {
        if Config::reads(&name) {
            given.insert(name, value);
        } else if let Some(meant) = near_miss::variable(&name) {
            warnings.push(format!("{name}: has no effect; did you mean {meant}?"));
        }
    }
    let mut variables = BTreeMap::new();
    for (name, value) in &given {
        match name.strip_suffix("_FILE") {
            Some(target) if given.contains_key(target) => {
                return Err(ConfigError::new(
                    name,
                    format!("{target} is also set; remove one of the two"),
                ));
            }
            Some(target) => variables.insert(target.to_owned(), read_secret(name, value)?),
            None => variables.insert(name.clone(), value.clone()),
        };
    }
    for (short, full) in SHORT_FORMS {
        // An empty short form is the same as none, so that a short form can be unset.
        if let Some(value) = variables.remove(short).filter(|value| !value.is_empty()) {
            variables.entry(full.to_owned()).or_insert(value);
        }
    }
    Ok((variables, warnings))
}

fn read_secret(variable: &str, path: &str) -> Result<String, ConfigError> {
    if is_url(Path::new(path)) {
        return Err(ConfigError::new(variable, URL_FOR_PATH));
    }
    match std::fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim_end().to_owned()),
        Err(error) => Err(ConfigError::new(variable, format!("{path}: {error}"))),
    }
}
