//! The public routes by name, as policies and metrics know them.

use std::{fmt, str::FromStr};

/// Which public route a request is for, by its method and its path, whether or not it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `GET` or `HEAD` of `/`
    Home,
    /// `POST` of `/shorten`
    Shorten,
    /// `GET` or `HEAD` of `/<code>`
    Follow,
    /// Any other path, and any other method.
    Other,
    /// `GET` or `HEAD` of what a browser fetches by itself; under no limit.
    Asset,
}

impl Route {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 5] = [
        Self::Home,
        Self::Shorten,
        Self::Follow,
        Self::Other,
        Self::Asset,
    ];

    /// The name in configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Shorten => "shorten",
            Self::Follow => "follow",
            Self::Other => "other",
            Self::Asset => "asset",
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

    /// One that a policy can cover.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut routes = Self::ALL.into_iter();
        routes
            .find(|route| route.name() == text && *route != Self::Asset)
            .ok_or("expected `home`, `shorten`, `follow` or `other`")
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_route_has_one_place_and_one_name() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), index);
            // What is under no limit cannot be under a policy.
            let parsed = route.name().parse().ok();
            assert_eq!(parsed, (route != Route::Asset).then_some(route));
        }
    }
}
