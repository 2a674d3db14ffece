//! URLs of databases and of Redis: what is wrong with them, and that no password is shown.

use super::*;

#[test]
fn secrets_do_not_appear_in_what_is_printed() {
    let environment = [
        ("DATABASE_URL", "postgres://me:pa55word@db/shunt"),
        ("REDIS_URL", "redis+sentinel://:pa55word@a:26379/mymaster"),
    ];
    let config = load("", &environment, &[]).expect("a configuration");
    for shown in [config.to_toml().expect("TOML"), format!("{config:?}")] {
        assert!(!shown.contains("pa55word"), "{shown}");
    }
}

#[test]
fn parameters_of_urls_that_have_no_effect_are_named() {
    let environment = [
        (
            "DATABASE_URL",
            "postgres://db/shunt?sslmode=require&target_session_attrs=read-write&options[a]=b",
        ),
        ("REDIS_URL", "redis://cache/1?protocol=resp3&timeout=secret"),
    ];
    let warnings = warnings(&environment);
    let [database, redis] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(database.starts_with("database.url: ") && database.contains("target_session_attrs"));
    assert!(redis.starts_with("redis.url: ") && redis.contains("timeout"));
    assert!(!redis.contains("secret"));
}

#[test]
fn a_password_that_is_not_encoded_is_refused_and_no_part_of_it_shown() {
    for (variable, key, url) in [
        (
            "DATABASE_URL",
            "database.url",
            "postgres://me:w0r@d1/w0rd2@w0rd3/shunt",
        ),
        (
            "DATABASE_URL",
            "database.url",
            "postgres://me:w0rd1?w0rd2@db/shunt",
        ),
        (
            "DATABASE_URL",
            "database.url",
            "postgres://me:w0rd1#w0rd2@db/shunt",
        ),
        (
            "DATABASE_URL",
            "database.url",
            "postgres://me:7/w0rd2@db/shunt",
        ),
        ("REDIS_URL", "redis.url", "redis://:w0r@d1/w0rd2@cache:6379"),
        ("REDIS_URL", "redis.url", "rediss://me:7/w0rd2@cache:6379"),
        (
            "REDIS_URL",
            "redis.url",
            "redis+sentinel://:w0r@d1/w0rd2@a:26379,b:26379/mymaster",
        ),
        (
            "REDIS_URL",
            "redis.url",
            "redis+cluster://:w0rd1/w0rd2@a:7000,b:7000",
        ),
    ] {
        let error = load("", &[(variable, url)], &[]).expect_err(url);
        assert_eq!(error.key, key, "{error}");
        assert!(error.problem.contains("percent-encoded"), "{error}");
        for part in ["w0r", "d1", "rd2", "me:"] {
            assert!(!error.problem.contains(part), "{error}");
        }
    }
    let error = load(
        "",
        &[("DATABASE_URL_FILE", "postgres://me:w0rd@db/shunt")],
        &[],
    );
    let error = error.expect_err("no file").to_string();
    assert!(
        !error.contains("w0rd") && error.contains("DATABASE_URL_FILE"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_a_postgres_url_is_said() {
    for (url, problem) in [
        (
            "postgres://me:secret@a:5432,b:5432/shunt?target_session_attrs=read-write",
            "one",
        ),
        ("postgres://me:secret@a,b/shunt", "one"),
        ("postgres:///shunt?host=a,b", "one"),
        ("postgres://a/shunt?hostaddr=10.0.0.1,10.0.0.2", "one"),
        ("postgres://a/shunt?sslmode=on", "verify-full"),
        ("postgres://a/shunt?hostaddr=db", "IP address"),
        ("postgres://a/shunt?port=secret", "number"),
        (
            "postgres://me:secret@a:port/shunt",
            "postgres://user:password@host:5432/database",
        ),
    ] {
        let error = load("", &[("DATABASE_URL", url)], &[]).expect_err(url);
        assert_eq!(error.key, "database.url", "{error}");
        assert!(error.problem.contains(problem), "{url}: {error}");
        assert!(!error.problem.contains("secret"), "{error}");
    }
}
