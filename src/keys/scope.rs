//! What a key allows.

use std::{fmt, str::FromStr};

/// One thing that a key may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To make links.
    Create,
    /// To see and change the links of the key's owner.
    Manage,
    /// To see who came.
    Stats,
    /// Everything, also for other owners: the links of all, and keys.
    Admin,
}

impl Scope {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Create, Self::Manage, Self::Stats, Self::Admin];

    /// The word for it: `create`, `manage`, `stats` or `admin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Manage => "manage",
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key allows: at least one [`Scope`]. Written as `create,manage`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

/// Why a text is no set of scopes.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidScopes {
    /// It names none.
    #[error("no scope is given; the scopes are {names}", names = names())]
    Empty,
    /// It names one that does not exist.
    #[error("there is no scope `{_0}`; the scopes are {names}", names = names())]
    Unknown(String),
}

/// `create, manage, stats and admin`.
fn names() -> String {
    let names = Scope::ALL.map(Scope::name);
    match names.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

impl Scopes {
    /// Whether the key allows this. A key with [`Scope::Admin`] allows everything.
    pub fn allows(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The scopes that are named, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let all = Scope::ALL.into_iter();
        all.filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// The scopes that a store has. A later release may have stored words that this one does not know: they allow
    /// nothing here. So this is the one way to a set that may be empty.
    pub(super) fn from_store(text: &str) -> Self {
        let known = text.split(',').filter_map(Scope::named);
        Self(known.fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl FromStr for Scopes {
    type Err = InvalidScopes;

    /// Words with commas between them, in any order, with or without white space.
    fn from_str(text: &str) -> Result<Self, InvalidScopes> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let mut bits = 0;
        for word in words {
            let unknown = || InvalidScopes::Unknown(word.to_owned());
            bits |= Scope::named(word).ok_or_else(unknown)?.bit();
        }
        if bits == 0 {
            return Err(InvalidScopes::Empty);
        }
        Ok(Self(bits))
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(scope.bit())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::name).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        text.parse().expect(text)
    }

    #[test]
    fn scopes_are_written_in_one_order() {
        for (text, written) in [
            ("create", "create"),
            ("stats,create", "create,stats"),
            (" manage , create,manage", "create,manage"),
            ("create,", "create"),
            ("admin,create", "create,admin"),
        ] {
            assert_eq!(scopes(text).to_string(), written, "{text}");
            assert_eq!(scopes(written), scopes(text));
            assert_eq!(Scopes::from_store(written), scopes(text));
        }
    }

    #[test]
    fn an_error_names_the_scopes() {
        let error = |text: &str| text.parse::<Scopes>().expect_err(text).to_string();
        for (text, begins) in [
            ("", "no scope is given"),
            (" , ", "no scope is given"),
            ("create,delete", "there is no scope `delete`"),
            ("Create", "there is no scope `Create`"),
            ("create manage", "there is no scope `create manage`"),
        ] {
            let error = error(text);
            assert!(error.starts_with(begins), "{error}");
            assert!(
                error.ends_with("the scopes are create, manage, stats and admin"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_allows_what_is_named_and_admin_everything() {
        let some = scopes("create,stats");
        let allowed = Scope::ALL.map(|scope| some.allows(scope));
        assert_eq!(allowed, [true, false, true, false]);
        let admin = Scopes::from(Scope::Admin);
        assert!(Scope::ALL.into_iter().all(|scope| admin.allows(scope)));
        assert_eq!(admin.iter().collect::<Vec<_>>(), [Scope::Admin]);
    }

    #[test]
    fn what_only_a_later_release_knows_allows_nothing() {
        assert_eq!(Scopes::from_store("create,fly"), scopes("create"));
        let unknown = Scopes::from_store("fly");
        assert!(!Scope::ALL.into_iter().any(|scope| unknown.allows(scope)));
    }
}
