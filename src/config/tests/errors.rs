//! An error is one line that names the key.

use super::*;

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
        ("[limiter]\nper_key = \"ten\"", "limiter.per_key"),
        ("[limiter]\nper_key = 600", "limiter.per_key"),
        (
            "[limiter]\nlink_password = \"ten\"",
            "limiter.link_password",
        ),
        ("[limiter]\nenabled = \"maybe\"", "limiter.enabled"),
        ("[limiter]\nipv6_prefix = 129", "limiter.ipv6_prefix"),
        ("[limiter]\nipv6_prefix = 300", "limiter.ipv6_prefix"),
        (
            "[limiter]\non_redis_failure = \"panic\"",
            "limiter.on_redis_failure",
        ),
        ("[limiter]\nnodes = 0", "limiter.nodes"),
        ("[limiter]\nnodes = \"three\"", "limiter.nodes"),
        ("[limiter]\nnodes = [3]", "limiter.nodes"),
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
        ("[links]\nhome_url = \"/home\"", "links.home_url"),
        (
            "[links]\nhome_url = \"https://user:secret@example.com/\"",
            "links.home_url",
        ),
        (
            "[links]\nnot_found_url = \"javascript:alert(1)\"",
            "links.not_found_url",
        ),
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
        ("[links]\nrestore_for = \"367d\"", "links.restore_for"),
        ("[links]\nrestore_for = 7", "links.restore_for"),
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
fn a_wrong_variable_or_flag_is_named() {
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

#[test]
fn a_syntax_error_names_its_line() {
    let error = load("[http]\nworkers = 1\nbind = localhost\n", &[], &[]).expect_err("not TOML");
    assert!(error.problem.starts_with("line 3: "), "{error}");
}

#[test]
fn a_wrong_choice_names_the_choices() {
    for (key, choices) in [
        ("http.scheduling", &["normal", "batch"][..]),
        (
            "limiter.on_redis_failure",
            &["split", "local", "allow", "deny"],
        ),
        ("limiter.enabled", &["true", "false"]),
        ("links.anonymous", &["true", "false"]),
        ("log.format", &["auto", "text", "json"]),
    ] {
        let error = load("", &[], &[(key, "maybe")]).expect_err(key);
        assert_eq!(error.key, key, "{error}");
        for choice in choices {
            let choice = format!("`{choice}`");
            assert!(error.problem.contains(&choice), "{choice}: {error}");
        }
    }
}

#[test]
fn a_policy_cannot_have_the_name_of_a_built_in_one() {
    for (name, quota) in [
        ("default", "limiter.quota"),
        ("per-key", "limiter.per_key"),
        ("key-attempts", "limiter.quota"),
        ("link-password", "limiter.link_password"),
    ] {
        let key = format!("limiter.policies.{name}.quota");
        let error = load("", &[], &[(&key, "1/s")]).expect_err(name);
        assert_eq!(error.key, "limiter.policies", "{error}");
        for part in [&format!("`{name}`"), quota] {
            assert!(error.problem.contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn a_wrong_item_of_a_list_is_named_by_its_place() {
    for file in [
        "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"ten\"]",
        "[http]\ntrusted_proxies = \"10.0.0.0/8, ten\"",
    ] {
        let error = load(file, &[], &[]).expect_err(file);
        assert!(error.problem.starts_with("item 2: "), "{error}");
    }
}

#[test]
fn bounds_are_named_as_they_are_written() {
    for (key, value, bounds) in [
        ("http.workers", "513", "1 to 512"),
        ("http.drain", "11m", "0s to 10m"),
        ("limiter.redis.timeout", "11s", "1ms to 10s"),
        ("limiter.ipv6_prefix", "0", "1 to 128"),
        ("limiter.nodes", "1001", "1 to 1000"),
        ("cache.ttl", "2days", "1s to 1day"),
    ] {
        let error = load("", &[], &[(key, value)]).expect_err(key);
        assert_eq!(error.problem, format!("out of range: {bounds}"), "{key}");
    }
}

#[test]
fn an_error_is_one_line_whatever_keys_and_values_contain() {
    for (key, value) in [
        ("limiter.quota", "ten\na\r\nminute"),
        ("log.level", "\u{1b}[2J\n"),
        ("http.\nbind", "x"),
    ] {
        let error = load("", &[], &[(key, value)]).expect_err(key);
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
}
