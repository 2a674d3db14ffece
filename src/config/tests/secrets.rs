//! No error repeats a value, because any key may have got a password by mistake.

use super::*;

/// What may stand in the place of any value.
const VALUES: [&str; 9] = [
    "postgres://u:SECRET@h/d",
    "postgres://h/d?password=SECRET",
    "redis://:SECRET@h",
    "https://u:SECRET@h",
    "SECRET",
    "1SECRET",
    "1/SECRET",
    "10.0.0.0/8,SECRET",
    "shunt=SECRET",
];

/// Every key, every section, and a few that there are not.
fn keys() -> Vec<String> {
    let mut keys = near_miss::keys();
    for key in keys.clone() {
        if let Some((section, _)) = key.rsplit_once('.') {
            keys.push(section.to_owned());
        }
        keys.push(format!("{key}.x"));
    }
    let others = [
        "limiter.policies.daily",
        "limiter.policies.daily.quota",
        "limiter.policies.daily.routes",
        "limiter.policies.daily.clients",
        "database_url",
        "database.uri",
    ];
    keys.extend(others.map(str::to_owned));
    keys.sort();
    keys.dedup();
    keys
}

#[track_caller]
fn shows_no_secret(from: &str, loaded: Result<Config, ConfigError>) -> usize {
    let Err(error) = loaded else {
        return 0;
    };
    assert!(!error.to_string().contains("SECRET"), "{from}: {error}");
    assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    1
}

#[test]
fn no_error_repeats_a_value() {
    let url = VALUES[0];
    let mut errors = 0;
    for key in keys() {
        for value in VALUES {
            let from = format!("{key}={value}");
            errors += shows_no_secret(&from, load("", &[], &[(&key, value)]));
        }
        let variable = format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"));
        errors += shows_no_secret(&variable, load("", &[(&variable, url)], &[]));
        for file in [
            format!("{key} = \"{url}\""),
            format!("{key} = [\"{url}\"]"),
            format!("{key} = [1, [\"{url}\"]]"),
            format!("{key} = {{ x = \"{url}\" }}"),
            format!("[[{key}]]\nurl = \"{url}\""),
        ] {
            errors += shows_no_secret(&file, load(&file, &[], &[]));
        }
    }
    for value in VALUES {
        errors += shows_no_secret("DATABASE_URL", load("", &[("DATABASE_URL", value)], &[]));
        errors += shows_no_secret("REDIS_URL", load("", &[("REDIS_URL", value)], &[]));
    }
    assert!(errors > 1000, "only {errors} errors");
}

#[test]
fn a_syntax_error_does_not_show_its_line() {
    for line in [
        "url = postgres://u:SECRET@h/d",
        "url = \"postgres://u:SECRET@h/d",
        "url = 'postgres://u:SECRET@h/d\"",
        "url = \"postgres://u:SECRET\\@h/d\"",
        "url = \"postgres://u:SECRET@h/d\" SECRET",
        "url = \"\"\"postgres://u:SECRET@h/d\"",
        "url = [postgres://u:SECRET@h/d]",
        "url = { SECRET }",
        "url = SECRET",
        "url = 1SECRET",
        "url = 12:SECRET",
        "url = trueSECRET",
        "url \"postgres://u:SECRET@h/d\"",
        "url: postgres://u:SECRET@h/d",
        "DATABASE_URL=postgres://u:SECRET@h/d",
        "postgres://u:SECRET@h/d",
        "\"postgres://u:SECRET@h/d\"",
        "[postgres://u:SECRET@h/d]",
        "url = \"postgres://u:SECRET@h/d\"\nurl = \"postgres://u:SECRET@h/d\"",
        "url = \"postgres://u:SECRET@h/d\"\nurl.x = \"postgres://u:SECRET@h/d\"",
    ] {
        let file = format!("[database]\n{line}");
        let errors = shows_no_secret(line, load(&file, &[], &[]));
        assert_eq!(errors, 1, "no error: {line}");
    }
}

#[test]
fn a_url_in_the_place_of_a_path_is_not_shown() {
    let url = "postgres://u:SECRET@h/d";
    for variable in ["SHUNT_CONFIG", "DATABASE_URL_FILE", "SHUNT__DATABASE_FILE"] {
        let environment = [(variable.to_owned(), url.to_owned())];
        let loaded = Config::load(None, environment, &[]).map(|loaded| loaded.config);
        assert_eq!(shows_no_secret(variable, loaded), 1, "no error: {variable}");
    }
    let loaded = Config::load(Some(Path::new(url)), [], &[]).map(|loaded| loaded.config);
    assert_eq!(shows_no_secret("the file", loaded), 1);
}

/// Its items would be taken for the values of the section's keys.
#[test]
fn a_list_is_no_section() {
    for (file, key) in [
        ("database = [\"postgres://h/d\"]", "database"),
        ("[[database]]\nurl = \"postgres://h/d\"", "database"),
        ("limiter.policies = []", "limiter.policies"),
        (
            "limiter.policies.daily = [\"1/s\"]",
            "limiter.policies.daily",
        ),
    ] {
        let error = load(file, &[], &[]).expect_err(file);
        assert_eq!(error.to_string(), format!("{key}: expected a section"));
    }
}
