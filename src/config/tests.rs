//! What a configuration may contain, and the errors about anything else.

mod documents;
mod errors;
mod layers;
mod secrets;
mod urls;
mod values;

use super::*;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("shunt.toml");
    std::fs::write(&path, file).expect("a file");
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let environment: Vec<_> = environment.iter().map(own).collect();
    let flags: Vec<_> = flags.iter().map(own).collect();
    Ok(Config::load(Some(&path), environment, &flags)?.config)
}

/// What is said of variables that have no effect.
fn warnings(environment: &[(&str, &str)]) -> Vec<String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let environment: Vec<_> = environment.iter().map(own).collect();
    let loaded = Config::load(None, environment, &[]).expect("a configuration");
    loaded.warnings
}
