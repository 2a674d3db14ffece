//! The public routes by name, as policies and metrics know them.

use std::{fmt, str::FromStr};

/// Which public route a request is for, whatever its method and whether or not it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/`
    Home,
    /// `/shorten`
    Shorten,
    /// `/<code>`
    Follow,
    /// Any other path.
    Other,
}

impl Route {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 4] = [Self::Home, Self::Shorten, Self::Follow, Self::Other];

    /// The route that a path leads to.
    pub fn of_path(path: &str) -> Self {
        match path.strip_prefix('/') {
            Some("") => Self::Home,
            Some("shorten") => Self::Shorten,
            Some(rest) if !rest.contains('/') => Self::Follow,
            _ => Self::Other,
        }
    }

    /// The name in configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Shorten => "shorten",
            Self::Follow => "follow",
            Self::Other => "other",
        }
    }

    /// The position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Route {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut routes = Self::ALL.into_iter();
        routes
            .find(|route| route.name() == text)
            .ok_or("expected `home`, `shorten`, `follow` or `other`")
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_path_has_one_route() {
        for (path, route) in [
            ("/", Route::Home),
            ("/shorten", Route::Shorten),
            ("/Ab3xY9", Route::Follow),
            ("/shortened", Route::Follow),
            ("/a/b", Route::Other),
            ("/shorten/", Route::Other),
            ("*", Route::Other),
        ] {
            assert_eq!(Route::of_path(path), route, "{path}");
        }
        for route in Route::ALL {
            assert_eq!(Route::ALL[route.index()], route);
            assert_eq!(route.name().parse(), Ok(route));
        }
    }
}
