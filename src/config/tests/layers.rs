//! Files, variables and flags: which of them wins, and which variables are read.

use super::*;

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "[limiter]\nquota = \"1/s\"\nipv6_prefix = 56\n[http]\nworkers = 3";
    let environment = [
        ("SHUNT__LIMITER__QUOTA", "2/s"),
        ("SHUNT__HTTP__WORKERS", "4"),
    ];
    let config = load(file, &environment, &[("limiter.quota", "3/s")]).expect("a configuration");
    assert_eq!(config.limiter.quota.limit(), 3);
    assert_eq!(config.http.workers, 4);
    assert_eq!(config.limiter.ipv6_prefix, 56);
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("named.toml");
    std::fs::write(&path, "[links]\ncode_length = 9").expect("a file");
    let variable = ("SHUNT_CONFIG".to_owned(), path.display().to_string());
    let loaded = Config::load(None, [variable], &[]).expect("a configuration");
    assert_eq!(loaded.config.links.code_length, 9);
}

#[test]
fn short_forms_and_secret_files_are_accepted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "postgres://me:pa55@db/shunt\n").expect("a file");
    let secret = secret.display().to_string();

    let config = load(
        "",
        &[
            ("DATABASE_URL_FILE", &secret),
            ("REDIS_URL", "redis://:pa55@cache"),
        ],
        &[],
    )
    .expect("a configuration");
    assert_eq!(
        config.database.url.to_string(),
        "postgres://me:***@db/shunt"
    );
    assert!(config.redis.url.is_some());

    let long_form = [
        ("DATABASE_URL", "postgres://short/form"),
        ("SHUNT__DATABASE__URL", "postgres://long/form"),
    ];
    let config = load("", &long_form, &[]).expect("a configuration");
    assert_eq!(config.database.url.to_string(), "postgres://long/form");

    let both = [
        ("REDIS_URL", "redis://a"),
        ("REDIS_URL_FILE", secret.as_str()),
    ];
    let error = load("", &both, &[]).expect_err("ambiguous");
    assert_eq!(error.key, "REDIS_URL_FILE");
}

/// What Kubernetes sets for services called `shunt`, `shunt-http` and `shunt-redis`, and Docker for a link called
/// `shunt`.
#[test]
fn variables_of_others_are_left_alone() {
    let injected = [
        ("SHUNT_PORT", "tcp://10.96.0.7:80"),
        ("SHUNT_PORT_80_TCP", "tcp://10.96.0.7:80"),
        ("SHUNT_PORT_80_TCP_PROTO", "tcp"),
        ("SHUNT_PORT_80_TCP_PORT", "80"),
        ("SHUNT_PORT_80_TCP_ADDR", "10.96.0.7"),
        ("SHUNT_SERVICE_HOST", "10.96.0.7"),
        ("SHUNT_SERVICE_PORT", "80"),
        ("SHUNT_SERVICE_PORT_HTTP", "80"),
        ("SHUNT_SERVICE_PORT_MANAGEMENT", "9180"),
        ("SHUNT_HTTP_PORT", "tcp://10.96.0.8:80"),
        ("SHUNT_HTTP_SERVICE_HOST", "10.96.0.8"),
        ("SHUNT_REDIS_PORT_6379_TCP_ADDR", "10.96.0.9"),
        ("SHUNT_NAME", "/web/shunt"),
        ("SHUNT_ENV_SHUNT__HTTP__BIND", "0.0.0.0:80"),
        ("SHUNT_TAG", "1.2.3"),
        ("SHUNT", "x"),
        ("SHUNTED__HTTP__BIND", "x"),
        ("REDIS_PORT", "tcp://10.96.0.10:6379"),
        ("DATABASE_SERVICE_HOST", "10.96.0.11"),
        ("", ""),
    ];
    assert_eq!(warnings(&injected), [""; 0]);
}

#[test]
fn a_variable_that_is_nearly_right_is_a_warning_that_says_what_is() {
    for (name, meant) in [
        ("SHUNT_HTTP_BIND", "SHUNT__HTTP__BIND"),
        ("SHUNT_HTTP__BIND", "SHUNT__HTTP__BIND"),
        ("shunt__http__bind", "SHUNT__HTTP__BIND"),
        ("SHUNT_DATABASE_URL", "SHUNT__DATABASE__URL"),
        ("SHUNT_DATABASE_URL_FILE", "SHUNT__DATABASE__URL_FILE"),
        ("SHUNT_REDIS_URL", "SHUNT__REDIS__URL"),
        ("SHUNT_HTTP_PUBLIC_URL", "SHUNT__HTTP__PUBLIC_URL"),
        (
            "SHUNT_LIMITER_REDIS_TIMEOUT",
            "SHUNT__LIMITER__REDIS__TIMEOUT",
        ),
        (
            "SHUNT_LIMITER_POLICIES_DAILY_QUOTA",
            "SHUNT__LIMITER__POLICIES__NAME__KEY",
        ),
    ] {
        let warnings = warnings(&[(name, "secret")]);
        let [warning] = &warnings[..] else {
            panic!("{name}: {warnings:?}");
        };
        assert!(warning.starts_with(&format!("{name}: ")), "{warning}");
        assert!(warning.contains(meant), "{warning}");
        assert!(!warning.contains("secret"), "{warning}");
    }
}
