//! The public routes: one table, from which names, methods, limits and reserved words are derived. A test compares its
//! paths with those that requests are matched by.

use std::{fmt, str::FromStr};

use actix_web::http::Method;

/// A public route, as policies and metrics know it. A request has one by its method and its path, even if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// The page, or one line of text.
    Home,
    /// Makes a short link.
    Shorten,
    /// Follows a short link, or shows what it is.
    Follow,
    /// Manages links: everything below `/api/`.
    Api,
    /// Any other path, and any other method.
    Other,
    /// What a browser fetches by itself.
    Asset,
}

/// A row of the table.
struct Entry {
    route: Route,
    /// The name in metrics, and in the `routes` of a policy.
    name: &'static str,
    /// The paths. `{…}` stands for any text.
    paths: &'static [&'static str],
    /// The methods. With another method, these paths belong to [`Route::Other`].
    methods: &'static [Method],
    /// Whether requests count against a quota.
    is_limited: bool,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// What a path below `/api/` may have. Each has only some of these: see `http/api/v1.rs`.
const MANAGE: &[Method] = &[
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PATCH,
    Method::DELETE,
];

/// In the order of the variants of [`Route`].
#[rustfmt::skip]
static TABLE: [Entry; 6] = [
    Entry { route: Route::Home,    name: "home",    methods: READ,             is_limited: true,  paths: &["/"] },
    Entry { route: Route::Shorten, name: "shorten", methods: &[Method::POST],  is_limited: true,  paths: &["/shorten"] },
    Entry { route: Route::Follow,  name: "follow",  methods: READ,             is_limited: true,  paths: &["/{code}", "/{code}+"] },
    Entry { route: Route::Api,     name: "api",     methods: MANAGE,           is_limited: true,  paths: &["/api/{path}"] },
    Entry { route: Route::Other,   name: "other",   methods: &[],              is_limited: true,  paths: &[] },
    Entry { route: Route::Asset,   name: "asset",   methods: READ,             is_limited: false,
            paths: &["/favicon.ico", "/robots.txt", "/apple-touch-icon{size}.png", "/.well-known/{name}"] },
];

/// Words that no route uses yet. A later version may want them, or an operator may put something there.
const KEPT_FREE: [&str; 20] = [
    "about", "admin", "assets", "config", "docs", "health", "healthz", "help", "index", "livez",
    "login", "logout", "metrics", "openapi", "page", "qr", "readyz", "sitemap", "static", "stats",
];

impl Route {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Other; TABLE.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = TABLE[index].route;
            index += 1;
        }
        all
    };

    /// The position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in configuration and metrics.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its paths. `{…}` stands for any text.
    pub fn paths(self) -> &'static [&'static str] {
        self.entry().paths
    }

    /// Its methods.
    pub fn methods(self) -> &'static [Method] {
        self.entry().methods
    }

    /// Whether requests count against a quota.
    pub fn is_limited(self) -> bool {
        self.entry().is_limited
    }

    fn entry(self) -> &'static Entry {
        &TABLE[self.index()]
    }
}

/// Methods as an `Allow` header lists them: `GET, HEAD`.
pub fn list_of_methods(methods: &[Method]) -> String {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

/// Whether no link may have this code, in any spelling: a route has it for its path, with or without the ending of a
/// file, or it is kept free.
pub fn is_reserved(code: &str) -> bool {
    let is_code = |word: &str| word.eq_ignore_ascii_case(code);
    KEPT_FREE.iter().any(|word| is_code(word)) || words_of_routes().any(is_code)
}

/// The first segment of each path, as far as its first dot. A `{…}` is not a word.
fn words_of_routes() -> impl Iterator<Item = &'static str> {
    let paths = TABLE.iter().flat_map(|entry| entry.paths);
    paths.filter_map(|path| {
        let word = path.split(['/', '.']).nth(1)?;
        (!word.is_empty() && !word.contains('{')).then_some(word)
    })
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Route {
    type Err = String;

    /// A route that a policy can cover.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let limited = || TABLE.iter().filter(|entry| entry.is_limited);
        if let Some(entry) = limited().find(|entry| entry.name == text) {
            return Ok(entry.route);
        }
        let names: Vec<_> = limited().map(|entry| format!("`{}`", entry.name)).collect();
        let (last, others) = names.split_last().ok_or("there are no routes")?;
        Err(format!("expected {} or {last}", others.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_has_one_place_one_name_and_paths_of_its_own() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), index, "{route} is out of order");
        }
        let mut names = HashSet::new();
        let mut paths = HashSet::new();
        for entry in &TABLE {
            assert!(names.insert(entry.name), "{} twice", entry.name);
            for path in entry.paths {
                assert!(paths.insert(path), "{path} twice");
                assert!(path.starts_with('/'), "{path}");
            }
            // Every request that has no other route is `Other`.
            let is_other = entry.route == Route::Other;
            assert_eq!(entry.paths.is_empty(), is_other, "{}", entry.name);
            assert_eq!(entry.methods.is_empty(), is_other, "{}", entry.name);
            assert_eq!(entry.route.paths(), entry.paths, "{}", entry.name);
            assert_eq!(entry.route.to_string(), entry.name);
        }
    }

    #[test]
    fn methods_are_listed_as_in_an_allow_header() {
        assert_eq!(list_of_methods(Route::Home.methods()), "GET, HEAD");
        assert_eq!(list_of_methods(Route::Shorten.methods()), "POST");
    }

    #[test]
    fn a_policy_covers_routes_that_are_limited_and_no_others() {
        for route in Route::ALL {
            let parsed = route.name().parse().ok();
            assert_eq!(parsed, route.is_limited().then_some(route));
        }
        let limited: Vec<_> = Route::ALL.into_iter().filter(|r| r.is_limited()).collect();
        assert_eq!(limited.len(), 5, "only what a browser fetches is not");
        assert_eq!(
            "asset".parse::<Route>(),
            Err("expected `home`, `shorten`, `follow`, `api` or `other`".to_owned())
        );
    }

    #[test]
    fn reserved_are_the_words_of_routes_and_those_that_are_kept_free() {
        let words: Vec<_> = words_of_routes().collect();
        assert_eq!(words, ["shorten", "api", "favicon", "robots"]);
        for word in ["shorten", "Favicon", "ROBOTS", "api", "qr"] {
            assert!(is_reserved(word), "{word}");
        }
        for word in ["short", "apple-touch-icon", "code", ""] {
            assert!(!is_reserved(word), "{word}");
        }
        for word in KEPT_FREE {
            assert!(!words.contains(&word), "{word} is a route's already");
        }
    }
}
