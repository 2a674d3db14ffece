//! The documentation has the same keys and defaults as the program.

use super::*;

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load("", &[], &[]).expect("defaults");
    let shown = config.to_toml().expect("TOML");
    let shown: toml::Table = shown.parse().expect("TOML again");
    let get = |path: &str| {
        let mut value = toml::Value::Table(shown.clone());
        for part in path.split('.') {
            value = value
                .get(part)
                .cloned()
                .unwrap_or_else(|| panic!("no {path}"));
        }
        value
    };
    for (key, expected) in [
        ("http.bind", "127.0.0.1:8080"),
        ("http.drain", "5s"),
        ("management.bind", "127.0.0.1:9180"),
        ("database.url", "sqlite://shunt.db"),
        ("database.timeout", "2s"),
        ("limiter.quota", "10/minute"),
        ("limiter.per_key", "600/minute"),
        ("limiter.link_password", "10/minute"),
        ("limiter.write_back", "250ms"),
        ("limiter.redis.timeout", "100ms"),
        ("limiter.on_redis_failure", "split"),
        ("redis.prefix", "rate_limit:"),
        ("links.restore_for", "7days"),
        ("cache.ttl", "1m"),
        ("cache.miss_ttl", "250ms"),
        ("log.level", "info"),
    ] {
        assert_eq!(get(key).as_str(), Some(expected), "{key}");
    }
    assert_eq!(get("database.max_connections").as_integer(), Some(16));
    assert_eq!(get("limiter.ipv6_prefix").as_integer(), Some(64));
    assert_eq!(get("links.code_length").as_integer(), Some(6));
    assert_eq!(get("cache.capacity").as_integer(), Some(100_000));
    assert_eq!(get("limiter.enabled").as_bool(), Some(true));
    assert_eq!(get("limiter.shield").as_bool(), Some(true));
    assert_eq!(get("links.anonymous").as_bool(), Some(true));
    assert_eq!(get("http.trusted_proxies").as_array(), Some(&Vec::new()));
    let cores = std::thread::available_parallelism().expect("cores").get();
    assert_eq!(get("http.workers").as_integer(), Some(cores as i64));
}

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const README: &str = include_str!("../../../README.md");

/// The keys and defaults of the tables between two headings, as `(section.key, default)`.
fn documented(document: &str, from: &str, to: &str) -> Vec<(String, String)> {
    let (_, tables) = document.split_once(from).expect("the tables");
    let (tables, _) = tables.split_once(to).expect("their end");
    let mut section = String::new();
    let mut documented = Vec::new();
    for line in tables.lines() {
        if let Some(heading) = line.strip_prefix("### `[") {
            section = format!("{}.", heading.split(']').next().expect("a section"));
        } else if line.starts_with("| `") {
            let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
            let (keys, defaults) = (cells.next().expect("keys"), cells.next().expect("defaults"));
            for (key, default) in keys.split(" / ").zip(defaults.split(" / ")) {
                let key = key.trim_matches('`');
                documented.push((format!("{section}{key}"), default.to_owned()));
            }
        }
    }
    documented
}

/// What `shunt config` prints for a key without a configuration.
fn printed(key: &str) -> Option<toml::Value> {
    let mut value = toml::Value::try_from(Config::default()).expect("TOML");
    for part in key.split('.') {
        value = value.get(part)?.clone();
    }
    Some(value)
}

/// A default as the documents write it: `75s`, `[]`, `10000`, or a word without backticks. `shunt config` prints
/// durations in its own way: `1m 15s`.
fn meant(default: &str) -> Option<toml::Value> {
    let text = match default {
        "unset" | "none" => return None,
        "number of cores" => {
            let cores = std::thread::available_parallelism().expect("cores");
            return Some((cores.get() as i64).into());
        }
        code => code.trim_matches('`'),
    };
    if let Ok(duration) = humantime::parse_duration(text) {
        return Some(humantime::format_duration(duration).to_string().into());
    }
    let toml = toml::from_str::<toml::Table>(&format!("value = {text}"));
    Some(toml.map_or_else(|_| text.into(), |table| table["value"].clone()))
}

/// Every key is documented, and every documented key exists.
#[test]
fn the_documented_keys_are_those_that_there_are() {
    let documented = documented(REFERENCE, "## Every key", "\n## ").into_iter();
    let mut documented: Vec<_> = documented.map(|(key, _)| key).collect();
    let mut keys = near_miss::keys();
    documented.sort();
    keys.sort();
    assert_eq!(documented, keys);
}

#[test]
fn every_documented_default_is_the_one_that_is_printed() {
    let reference = documented(REFERENCE, "## Every key", "\n## ");
    let readme = documented(README, "| key | default | meaning |", "\n\n");
    assert!(readme.len() > 10, "the README's keys");
    let keys = near_miss::keys();
    for (key, default) in reference.into_iter().chain(readme) {
        assert!(keys.contains(&key), "{key}: there is no such key");
        assert_eq!(printed(&key), meant(&default), "{key}");
    }
}

#[test]
fn the_example_can_be_loaded() {
    let (_, example) = REFERENCE.split_once("## An example").expect("the example");
    let (_, example) = example.split_once("```toml\n").expect("its beginning");
    let (example, _) = example.split_once("```").expect("its end");
    let config = load(example, &[], &[]).expect("a configuration");
    assert!(!config.limiter.policies.is_empty());
}
