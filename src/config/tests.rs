//! What a configuration may say, and what it is told when it may not.

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
    Config::load(Some(&path), environment, &flags)
}

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
        ("limiter.write_back", "250ms"),
        ("limiter.redis.timeout", "100ms"),
        ("limiter.on_redis_failure", "local"),
        ("redis.prefix", "rate_limit:"),
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
    assert_eq!(get("http.trusted_proxies").as_array(), Some(&Vec::new()));
    let cores = std::thread::available_parallelism().expect("cores").get();
    assert_eq!(get("http.workers").as_integer(), Some(cores as i64));
}

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
fn the_file_can_be_named_by_a_variable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("named.toml");
    std::fs::write(&path, "[links]\ncode_length = 9").expect("a file");
    let variable = ("SHUNT_CONFIG".to_owned(), path.display().to_string());
    let config = Config::load(None, [variable], &[]).expect("a configuration");
    assert_eq!(config.links.code_length, 9);
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
fn whatever_is_wrong_is_one_line_that_names_the_key() {
    for (file, key) in [
        ("[http]\nbnd = \"x\"", "http.bnd"),
        ("[htp]\nbind = \"x\"", "htp"),
        ("[http]\nbind = \"nonsense\"", "http.bind"),
        ("[http]\nbind = \"127.0.0.1\"", "http.bind"),
        ("[http]\nworkers = 0", "http.workers"),
        ("[http]\nworkers = \"many\"", "http.workers"),
        ("[http]\nworkers = -1", "http.workers"),
        ("[http]\nscheduling = \"fifo\"", "http.scheduling"),
        ("[http]\ndrain = \"soon\"", "http.drain"),
        ("[http]\ndrain = \"1h\"", "http.drain"),
        ("[http]\npublic_url = \"ftp://x\"", "http.public_url"),
        ("[http]\npublic_url = \"https://x/?q\"", "http.public_url"),
        ("[http]\npublic_url = \"sho.rt\"", "http.public_url"),
        (
            "[http]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "http.trusted_proxies",
        ),
        ("[http]\ntrusted_proxies = 5", "http.trusted_proxies"),
        ("[management]\nbind = \"9180\"", "management.bind"),
        ("[database]\nurl = \"mysql://x\"", "database.url"),
        ("[database]\nurl = \"postgres://[\"", "database.url"),
        (
            "[database]\nmax_connections = 0",
            "database.max_connections",
        ),
        ("[database]\ntimeout = \"0s\"", "database.timeout"),
        ("[redis]\nurl = \"localhost:6379\"", "redis.url"),
        ("[redis]\nprefix = \"\"", "redis.prefix"),
        ("[redis]\nprefix = \"{all}:\"", "redis.prefix"),
        ("[limiter]\nquota = \"ten\"", "limiter.quota"),
        ("[limiter]\nquota = \"0/minute\"", "limiter.quota"),
        ("[limiter]\nquota = 10", "limiter.quota"),
        ("[limiter]\nenabled = \"maybe\"", "limiter.enabled"),
        ("[limiter]\nipv6_prefix = 129", "limiter.ipv6_prefix"),
        ("[limiter]\nipv6_prefix = 300", "limiter.ipv6_prefix"),
        (
            "[limiter]\non_redis_failure = \"panic\"",
            "limiter.on_redis_failure",
        ),
        ("[limiter]\nshield = \"maybe\"", "limiter.shield"),
        ("[limiter]\nwrite_back = 250", "limiter.write_back"),
        ("[limiter]\nwrite_back = \"soon\"", "limiter.write_back"),
        ("[limiter]\nwrite_back = \"9ms\"", "limiter.write_back"),
        ("[limiter]\nwrite_back = \"10001ms\"", "limiter.write_back"),
        (
            "[limiter.redis]\ntimeout = \"0ms\"",
            "limiter.redis.timeout",
        ),
        (
            "[limiter.policies.fade]\nquota = \"1/s\"",
            "limiter.policies",
        ),
        (
            "[limiter.policies.default]\nquota = \"1/s\"",
            "limiter.policies",
        ),
        (
            "[limiter.policies.shorten]\nroutes = []",
            "limiter.policies.shorten",
        ),
        (
            "[limiter.policies.shorten]\nquota = \"1/s\"\nroutes = [\"x\"]",
            "limiter.policies.shorten.routes",
        ),
        (
            "[limiter.policies.shorten]\nquota = \"1/s\"\nroute = \"x\"",
            "limiter.policies.shorten.route",
        ),
        ("[links]\ncode_length = 3", "links.code_length"),
        ("[cache]\ncapacity = -1", "cache.capacity"),
        ("[cache]\ncapacity = 10000001", "cache.capacity"),
        ("[cache]\ncapacity = \"64MB\"", "cache.capacity"),
        ("[cache]\nttl = \"999ms\"", "cache.ttl"),
        ("[cache]\nttl = \"25h\"", "cache.ttl"),
        ("[cache]\nttl = 60", "cache.ttl"),
        ("[cache]\nmiss_ttl = \"61s\"", "cache.miss_ttl"),
        ("[cache]\nmiss_ttl = \"never\"", "cache.miss_ttl"),
        ("[cache]\nmisses_ttl = \"1s\"", "cache.misses_ttl"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[log]\nlevel = \"loud\"", "log.level"),
        ("http = 5", "http"),
    ] {
        let error = load(file, &[], &[]).expect_err(file);
        assert_eq!(error.key, key, "{file}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(
            !error.problem.contains("for key"),
            "once is enough: {error}"
        );
    }
}

#[test]
fn a_wrong_variable_or_flag_is_named_too() {
    for (environment, flags, key) in [
        (
            &[("SHUNT__HTTP__BND", "x")] as &[_],
            &[] as &[_],
            "http.bnd",
        ),
        (&[("SHUNT_HTTP__BIND", "x")], &[], "SHUNT_HTTP__BIND"),
        (&[("SHUNT__HTTP__BIND", "x")], &[], "http.bind"),
        (&[("DATABASE_URL", "x")], &[], "database.url"),
        (
            &[("REDIS_URL_FILE", "/does/not/exist")],
            &[],
            "REDIS_URL_FILE",
        ),
        (&[], &[("http.bnd", "x")], "http.bnd"),
        (&[], &[("limiter.quota", "x")], "limiter.quota"),
    ] {
        let error = load("", environment, flags).expect_err(key);
        assert_eq!(error.key, key, "{error}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let error = Config::load(Some(Path::new("/does/not/exist.toml")), [], &[]);
    assert_eq!(error.expect_err("missing").key, "/does/not/exist.toml");
    let error = load("[http\n", &[], &[]).expect_err("not TOML");
    assert!(error.key.ends_with("shunt.toml"), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}
