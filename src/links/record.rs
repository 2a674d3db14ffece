//! Everything that is known of a link to those who manage it.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{Manner, PasswordHash, ShortCode};
use crate::owner::Owner;

/// A link as it is stored, for those who manage it. Visitors see less of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The number of the link. SQLite may give it to another one when this one is gone.
    pub(super) id: i64,
    /// Its main code.
    pub code: ShortCode,
    /// Further codes that lead to the same, in the order in which they were added.
    pub further_codes: Vec<ShortCode>,
    /// Where it leads.
    pub target: String,
    /// Whose it is; `None` if only administrators may change it.
    pub owner: Option<Owner>,
    /// When it was made, by the store's clock.
    pub created_at: SystemTime,
    /// When it begins to work.
    pub starts_at: Option<SystemTime>,
    /// When it stops working.
    pub expires_at: Option<SystemTime>,
    /// After how many visits it stops working.
    pub max_visits: Option<u32>,
    /// How many visits were counted. Only visits of a link with `max_visits` are.
    pub visits: u32,
    /// How visitors are led to the target.
    pub manner: Manner,
    /// Where it leads once it has expired or is used up.
    pub fallback: Option<String>,
    /// Whether it works at all.
    pub enabled: bool,
    /// What people call it.
    pub title: Option<String>,
    /// A note, of any number of lines.
    pub note: Option<String>,
    /// Tags, each once, in the order in which they were given.
    pub tags: Vec<String>,
    /// Whether visitors are asked for a password.
    pub has_password: bool,
    /// What is stored of the password, for the version only.
    pub(super) password: Option<PasswordHash>,
    /// When it was deleted.
    pub deleted_at: Option<SystemTime>,
    /// What it did when it was read.
    pub state: LinkState,
    /// When it was read, by the store's clock.
    pub read_at: SystemTime,
}

/// What a link does at the moment. If several are true, the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It leads to its target.
    Active,
    /// It has not started.
    Scheduled,
    /// No visit is left.
    UsedUp,
    /// Its time is over.
    Expired,
    /// It is taken down.
    Disabled,
    /// It is deleted, and may still be restored.
    Deleted,
}

/// The text is not the name of a state.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("active, scheduled, used_up, expired, disabled or deleted")]
pub struct InvalidState;

impl FromStr for LinkState {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let mut states = Self::ALL.into_iter();
        states
            .find(|state| state.name() == text)
            .ok_or(InvalidState)
    }
}

impl LinkState {
    /// All of them. If several are true of a link, the last one of these is its state.
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Scheduled,
        Self::UsedUp,
        Self::Expired,
        Self::Disabled,
        Self::Deleted,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Scheduled => "scheduled",
            Self::UsedUp => "used_up",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// What a link is made of at the moment: everything that somebody may change, and nothing else. Two records have the
/// same version if they are of one link and nothing was changed between them.
///
/// Visits are left out: a visitor must not make an edit fail that was begun before the visit. So is the state, which
/// changes with time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version([u8; 16]);

impl LinkRecord {
    /// All its codes, the main one first.
    pub fn codes(&self) -> impl Iterator<Item = &ShortCode> {
        std::iter::once(&self.code).chain(&self.further_codes)
    }

    /// How long it had been deleted when it was read.
    pub(super) fn deleted_for(&self) -> Option<Duration> {
        let deleted_at = self.deleted_at?;
        Some(self.read_at.duration_since(deleted_at).unwrap_or_default())
    }

    /// The version of what was read. The same on every node: all of it comes from the store.
    pub fn version(&self) -> Version {
        let mut fields = Fields::default();
        fields.take(Some(self.id.to_be_bytes()));
        fields.take_time(Some(self.created_at));
        fields.take_list(self.codes().map(ShortCode::as_str));
        fields.take(Some(&self.target));
        fields.take(self.owner.as_ref().map(Owner::as_str));
        for time in [self.starts_at, self.expires_at, self.deleted_at] {
            fields.take_time(time);
        }
        fields.take(self.max_visits.map(u32::to_be_bytes));
        fields.take(Some(self.manner.redirect.status().to_be_bytes()));
        for flag in [self.manner.forward_query, self.enabled, self.has_password] {
            fields.take(Some([u8::from(flag)]));
        }
        for text in [&self.fallback, &self.title, &self.note] {
            fields.take(text.as_ref());
        }
        fields.take_list(self.tags.iter().map(String::as_str));
        // The same as in the release before for a link without a password.
        if let Some(password) = &self.password {
            fields.take(Some(password.as_str()));
        }
        fields.version()
    }
}

/// Fields on their way into a version. Each goes with its length, so that no two lists of fields look the same.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    fn take(&mut self, field: Option<impl AsRef<[u8]>>) {
        match field {
            None => self.0.update([0]),
            Some(field) => {
                let bytes = field.as_ref();
                self.0.update([1]);
                self.0.update((bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
        }
    }

    fn take_list<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        for text in texts {
            self.take(Some(text));
        }
        self.take(None::<&str>);
    }

    fn take_time(&mut self, time: Option<SystemTime>) {
        self.take(time.map(|time| {
            // The databases keep microseconds.
            match time.duration_since(SystemTime::UNIX_EPOCH) {
                Ok(after) => after.as_micros().to_be_bytes(),
                Err(before) => (!before.duration().as_micros()).to_be_bytes(),
            }
        }));
    }

    fn version(self) -> Version {
        let hash: [u8; 32] = self.0.finalize().into();
        let mut version = [0; 16];
        version.copy_from_slice(&hash[..16]);
        Version(version)
    }
}

impl Version {
    /// The version that [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut version = [0; 16];
        hex::decode_to_slice(text, &mut version).ok()?;
        Some(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::links::Redirect;

    fn code(text: &str) -> ShortCode {
        ShortCode::parse(text).expect("a code")
    }

    pub(in crate::links) fn record() -> LinkRecord {
        LinkRecord {
            id: 1,
            code: code("main"),
            further_codes: Vec::new(),
            target: "https://example.com/".to_owned(),
            owner: None,
            created_at: SystemTime::UNIX_EPOCH,
            starts_at: None,
            expires_at: None,
            max_visits: None,
            visits: 0,
            manner: Manner::default(),
            fallback: None,
            enabled: true,
            title: None,
            note: None,
            tags: Vec::new(),
            has_password: false,
            password: None,
            deleted_at: None,
            state: LinkState::Active,
            read_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn whatever_can_be_changed_makes_another_version() {
        let time = Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1));
        let text = || Some("a".to_owned());
        let hash = |text: &str| Some(PasswordHash::from_store(text.to_owned()));
        let changes: [fn(&mut LinkRecord); 6] = [
            |record| record.id = 2,
            |record| record.code = code("other"),
            |record| record.further_codes = vec![code("other")],
            |record| record.target.push('a'),
            |record| record.owner = Some(Owner::default()),
            |record| record.tags = vec!["a".to_owned()],
        ];
        let mut records = vec![record()];
        records.extend(changes.map(|change| {
            let mut record = record();
            change(&mut record);
            record
        }));
        let manner = |redirect, forward_query| LinkRecord {
            manner: Manner {
                redirect,
                forward_query,
            },
            ..record()
        };
        #[rustfmt::skip]
        records.extend([
            LinkRecord { tags: vec!["a".to_owned(), "b".to_owned()], ..record() },
            LinkRecord { tags: vec!["ab".to_owned()], ..record() },
            LinkRecord { starts_at: time, ..record() },
            LinkRecord { expires_at: time, ..record() },
            LinkRecord { deleted_at: time, ..record() },
            LinkRecord { created_at: SystemTime::UNIX_EPOCH + Duration::from_micros(1), ..record() },
            LinkRecord { expires_at: Some(SystemTime::UNIX_EPOCH - Duration::from_micros(1)), ..record() },
            LinkRecord { max_visits: Some(1), ..record() },
            LinkRecord { fallback: text(), ..record() },
            LinkRecord { title: text(), ..record() },
            LinkRecord { note: text(), ..record() },
            LinkRecord { enabled: false, ..record() },
            LinkRecord { has_password: true, ..record() },
            LinkRecord { has_password: true, password: hash("a"), ..record() },
            LinkRecord { has_password: true, password: hash("b"), ..record() },
            manner(Redirect::SeeOther, false),
            manner(Redirect::Found, true),
        ]);
        for (index, one) in records.iter().enumerate() {
            for other in &records[index + 1..] {
                assert_ne!(one.version(), other.version(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn visits_and_the_state_make_no_other_version() {
        let visited = LinkRecord {
            visits: 7,
            state: LinkState::UsedUp,
            ..record()
        };
        assert_eq!(visited.version(), record().version());
    }

    #[test]
    fn a_version_is_read_as_it_is_written() {
        let version = record().version();
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        for wrong in ["", "0", &"g".repeat(32), &"0".repeat(33), "*"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
