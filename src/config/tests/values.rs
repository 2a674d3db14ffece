//! How values are written, and their bounds.

use std::num::NonZeroU32;

use super::*;

#[test]
fn what_is_remembered_of_links_has_bounds() {
    for (file, capacity, ttl, miss_ttl) in [
        ("capacity = 0\nttl = \"1s\"\nmiss_ttl = \"0s\"", 0, 1_000, 0),
        (
            "capacity = 10000000\nttl = \"1day\"\nmiss_ttl = \"1m\"",
            10_000_000,
            86_400_000,
            60_000,
        ),
    ] {
        let cache = load(&format!("[cache]\n{file}"), &[], &[])
            .expect("a configuration")
            .cache;
        let milliseconds = (cache.ttl.as_millis(), cache.miss_ttl.as_millis());
        assert_eq!((cache.capacity, milliseconds), (capacity, (ttl, miss_ttl)));
    }
}

#[test]
fn the_shield_and_its_write_back_can_be_set_up_to_their_bounds() {
    for (text, millis) in [("10ms", 10), ("1s", 1_000), ("10s", 10_000)] {
        let file = format!("[limiter]\nshield = false\nwrite_back = \"{text}\"");
        let limiter = load(&file, &[], &[]).expect("a configuration").limiter;
        assert!(!limiter.shield);
        assert_eq!(limiter.write_back.as_millis(), millis, "{text}");
    }
    let environment = [
        ("SHUNT__LIMITER__SHIELD", "false"),
        ("SHUNT__LIMITER__WRITE_BACK", "2s"),
    ];
    let limiter = load("", &environment, &[])
        .expect("a configuration")
        .limiter;
    assert!(!limiter.shield);
    assert_eq!(limiter.write_back.as_secs(), 2);
}

#[test]
fn lists_are_written_with_commas_in_the_environment() {
    let environment = [(
        "SHUNT__HTTP__TRUSTED_PROXIES",
        "10.0.0.0/8, 127.0.0.1,fd00::/8",
    )];
    let config = load("", &environment, &[]).expect("a configuration");
    let networks =
        ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|n| n.parse().expect("a network"));
    assert_eq!(config.http.trusted_proxies, networks);
    let config = load(
        "[http]\ntrusted_proxies = [\"10.0.0.0/8\"]",
        &[("SHUNT__HTTP__TRUSTED_PROXIES", "")],
        &[],
    );
    assert!(
        config
            .expect("a configuration")
            .http
            .trusted_proxies
            .is_empty()
    );
}

#[test]
fn what_is_unset_can_be_set_and_unset_again() {
    let unset = load("", &[], &[]).expect("defaults");
    assert_eq!(unset.http.client_ip_header, None);
    assert!(unset.http.cors_origins.is_empty());
    let file = "[http]\nclient_ip_header = \"CF-Connecting-IP\"\n\
        cors_origins = [\"https://App.example/\"]\n\
        [links]\nschemes = [\"https\", \"MailTo\"]\n\
        home_url = \"https://Example.com\"\nnot_found_url = \"https://example.com/404\"";
    let shown = load(file, &[], &[])
        .expect("a configuration")
        .to_toml()
        .expect("TOML");
    for line in [
        "client_ip_header = \"cf-connecting-ip\"",
        "cors_origins = [\"https://app.example\"]",
        "schemes = [\"https\", \"mailto\"]",
        "home_url = \"https://example.com/\"",
        "not_found_url = \"https://example.com/404\"",
    ] {
        assert!(shown.contains(line), "no {line} in {shown}");
    }
    let environment = [
        ("SHUNT__HTTP__CLIENT_IP_HEADER", ""),
        ("SHUNT__HTTP__CORS_ORIGINS", ""),
        ("SHUNT__LINKS__HOME_URL", ""),
    ];
    let config = load(file, &environment, &[]).expect("a configuration");
    assert_eq!(config.http.client_ip_header, None);
    assert!(config.http.cors_origins.is_empty());
    assert_eq!(config.links.home_url, None);
}

#[test]
fn the_number_of_nodes_can_be_set_up_to_its_bounds_and_unset_again() {
    for (text, number) in [("1", 1), ("1000", 1000)] {
        let file = format!("[limiter]\nnodes = {text}");
        let config = load(&file, &[], &[]).expect("a configuration");
        assert_eq!(config.limiter.nodes.map(NonZeroU32::get), Some(number));
        let shown = config.to_toml().expect("TOML");
        assert!(shown.contains(&format!("nodes = {text}\n")), "{shown}");
        let environment = [("SHUNT__LIMITER__NODES", text)];
        let config = load("", &environment, &[]).expect("a configuration");
        assert_eq!(config.limiter.nodes.map(NonZeroU32::get), Some(number));
        for unset in ["", " "] {
            let environment = [("SHUNT__LIMITER__NODES", unset)];
            let config = load(&file, &environment, &[]).expect("a configuration");
            assert_eq!(config.limiter.nodes, None);
        }
    }
}

#[test]
fn policies_come_from_a_file_or_from_variables() {
    let file = r#"
        [limiter.policies.shorten]
        quota = "5/minute"
        routes = ["shorten"]
        clients = ["192.0.2.0/24"]
    "#;
    let environment = [
        ("SHUNT__LIMITER__POLICIES__DAILY__QUOTA", "500/day"),
        ("SHUNT__LIMITER__POLICIES__DAILY__ROUTES", "shorten,follow"),
    ];
    let config = load(file, &environment, &[]).expect("a configuration");
    let policies = &config.limiter.policies;
    assert_eq!(policies.keys().collect::<Vec<_>>(), ["daily", "shorten"]);
    assert_eq!(policies["shorten"].quota.limit(), 5);
    assert_eq!(policies["daily"].routes.len(), 2);
}

#[test]
fn numbers_and_flags_can_be_text() {
    for (text, expected) in [("true", true), ("off", false), ("1", true), ("No", false)] {
        let environment = [
            ("SHUNT__LIMITER__ENABLED", text),
            ("SHUNT__HTTP__WORKERS", " 3 "),
        ];
        let config = load("", &environment, &[]).expect("a configuration");
        assert_eq!(config.limiter.enabled, expected, "{text}");
        assert_eq!(config.http.workers, 3);
    }
}

/// A value for each key with text that has no default to take: unset, or an empty list.
const SAMPLES: [(&str, &str); 12] = [
    ("http.client_ip_header", "Forwarded"),
    ("http.cors_origins", "https://app.example"),
    ("http.public_url", "https://sho.rt"),
    ("http.trusted_proxies", "10.0.0.0/8"),
    ("limiter.exempt", "10.0.0.0/8"),
    ("limiter.nodes", "3"),
    ("limiter.policies.daily.quota", "500/day"),
    ("limiter.policies.shorten.clients", "10.0.0.0/8"),
    ("limiter.policies.shorten.routes", "shorten,follow"),
    ("links.home_url", "https://example.com/"),
    ("links.not_found_url", "https://example.com/404"),
    ("redis.url", "redis://localhost"),
];

#[test]
fn white_space_around_a_value_does_not_matter() {
    let defaults = toml::Table::try_from(Config::default()).expect("TOML");
    let mut values: Vec<_> = SAMPLES.map(|(key, text)| (key, text.to_owned())).into();
    let keys = near_miss::keys();
    for key in &keys {
        let samples = || SAMPLES.iter().map(|(sample, _)| sample);
        if samples().any(|sample| sample.starts_with(key)) {
            continue;
        }
        let (section, name) = key.rsplit_once('.').expect("a section");
        let section = section
            .split('.')
            .try_fold(&defaults, |table, name| table[name].as_table());
        let text = match &section.expect("a section")[name] {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(toml::Value::as_str).collect();
                items.join(",")
            }
            value => value.to_string(),
        };
        assert_ne!(text, "", "{key} needs a sample");
        values.push((key, text));
    }
    for (key, text) in values {
        let shown = |text: &str| {
            let file = "[limiter.policies.shorten]\nquota = \"5/minute\"";
            let config = load(file, &[], &[(key, text)]);
            config.unwrap_or_else(|error| panic!("{error}")).to_toml()
        };
        let spaced = format!(" \t{}\r\n", text.replace(',', " , "));
        // Both may be the default: also an error would tell.
        assert_eq!(shown(&spaced), shown(&text), "{key}");
    }
}

#[test]
fn a_choice_is_text() {
    for value in ["true", "1", "{ json = {} }", "[\"json\"]"] {
        let error = load(&format!("[log]\nformat = {value}"), &[], &[]).expect_err(value);
        assert_eq!(
            error.to_string(),
            "log.format: expected a string",
            "{value}"
        );
    }
}
