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
    Ok(Config::load(Some(&path), environment, &flags)?.config)
}

/// What is said of variables that have no effect.
fn warnings(environment: &[(&str, &str)]) -> Vec<String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let environment: Vec<_> = environment.iter().map(own).collect();
    let loaded = Config::load(None, environment, &[]).expect("a configuration");
    loaded.warnings
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
    let loaded = Config::load(None, [variable], &[]).expect("a configuration");
    assert_eq!(loaded.config.links.code_length, 9);
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
        [links]\nschemes = [\"https\", \"MailTo\"]";
    let shown = load(file, &[], &[])
        .expect("a configuration")
        .to_toml()
        .expect("TOML");
    for line in [
        "client_ip_header = \"cf-connecting-ip\"",
        "cors_origins = [\"https://app.example\"]",
        "schemes = [\"https\", \"mailto\"]",
    ] {
        assert!(shown.contains(line), "no {line} in {shown}");
    }
    let environment = [
        ("SHUNT__HTTP__CLIENT_IP_HEADER", ""),
        ("SHUNT__HTTP__CORS_ORIGINS", ""),
    ];
    let config = load(file, &environment, &[]).expect("a configuration");
    assert_eq!(config.http.client_ip_header, None);
    assert!(config.http.cors_origins.is_empty());
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
        ("[links]\nschemes = []", "links.schemes"),
        ("[links]\nschemes = \"\"", "links.schemes"),
        ("[links]\nschemes = \"https://\"", "links.schemes"),
        ("[links]\nschemes = [\"http\", \"a b\"]", "links.schemes"),
        ("[links]\nschemes = [\"JavaScript\"]", "links.schemes"),
        ("[links]\nschemes = \"https,data\"", "links.schemes"),
        ("[links]\nschemes = \"file\"", "links.schemes"),
        ("[links]\nschemes = \"vbscript\"", "links.schemes"),
        ("[http]\ncors_origins = \"null\"", "http.cors_origins"),
        (
            "[http]\ncors_origins = \"app.example\"",
            "http.cors_origins",
        ),
        (
            "[http]\ncors_origins = [\"https://app.example/path\"]",
            "http.cors_origins",
        ),
        (
            "[http]\nclient_ip_header = \"CF Connecting IP\"",
            "http.client_ip_header",
        ),
        (
            "[http]\nclient_ip_header = \"X-Real-IP:\"",
            "http.client_ip_header",
        ),
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

/// So that no key is undocumented, and none documented that is not there.
#[test]
fn the_documented_keys_are_those_that_there_are() {
    let document = include_str!("../../docs/configuration.md");
    let (_, tables) = document.split_once("## Every key").expect("the tables");
    let (tables, _) = tables.split_once("\n## ").expect("their end");
    let mut documented = Vec::new();
    let mut section = "";
    for line in tables.lines() {
        if let Some(heading) = line.strip_prefix("### `[") {
            section = heading.split(']').next().expect("a section");
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = row.split('`').next().expect("a key");
            documented.push(format!("{section}.{key}"));
        }
    }
    let mut keys = near_miss::keys();
    documented.sort();
    keys.sort();
    assert_eq!(documented, keys);
}
