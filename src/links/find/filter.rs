//! Which links somebody wants to see.

use std::{ops::Range, str::FromStr, time::SystemTime};

use super::SearchTerm;
use crate::{
    links::{Editor, LinkRecord, LinkState},
    owner::{InvalidOwner, Owner},
};

/// Which links somebody wants to see: those for which all of this is true. By default, all that are not deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// Whose they are.
    pub owner: Whose,
    /// What a code, the target, the title, the note or a tag contains; or if it is short, what a code begins with.
    pub search: Option<SearchTerm>,
    /// A tag that they have, by its exact name.
    pub tag: Option<String>,
    /// What they do at the moment. `None`: anything, but not deleted.
    pub state: Option<LinkState>,
    /// Where they lead, exactly and as the store has it.
    pub target: Option<String>,
    /// When they were made.
    pub created: Between,
    /// When they stop working. If there is a bound, links that never do are left out.
    pub expires: Between,
}

/// Whose links somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// Anybody's, and nobody's.
    #[default]
    Anyone,
    /// Those without an owner.
    Nobody,
    /// Those of an owner.
    Owner(Owner),
}

/// A span of time: from its start on, until before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// The first time that belongs to it.
    pub from: Option<SystemTime>,
    /// The first time after it.
    pub until: Option<SystemTime>,
}

impl From<&Editor> for Whose {
    /// Those that are there for the editor.
    fn from(editor: &Editor) -> Self {
        match editor {
            Editor::Owner(owner) => Self::Owner(owner.clone()),
            Editor::Administrator => Self::Anyone,
        }
    }
}

impl FromStr for Whose {
    type Err = InvalidOwner;

    /// The name of an owner, or nothing: those without an owner.
    fn from_str(text: &str) -> Result<Self, InvalidOwner> {
        match text {
            "" => Ok(Self::Nobody),
            name => Owner::parse(name).map(Self::Owner),
        }
    }
}

impl Whose {
    fn includes(&self, owner: Option<&Owner>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Nobody => owner.is_none(),
            Self::Owner(wanted) => owner == Some(wanted),
        }
    }
}

impl Between {
    /// Whether there is no bound.
    pub(super) fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a time belongs to it.
    fn includes(&self, time: SystemTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    /// Whether any time from the first to the last of these, with both, may belong to it.
    pub(super) fn touches(&self, times: &Range<SystemTime>) -> bool {
        self.from.is_none_or(|from| times.end >= from)
            && self.until.is_none_or(|until| times.start < until)
    }
}

impl LinkFilter {
    /// Whether a link is wanted.
    pub(super) fn includes(&self, link: &LinkRecord) -> bool {
        let state = match self.state {
            None => link.state != LinkState::Deleted,
            Some(state) => link.state == state,
        };
        let tag = |tag: &String| link.tags.contains(tag);
        let expires = || match link.expires_at {
            None => self.expires.is_always(),
            Some(at) => self.expires.includes(at),
        };
        state
            && self.owner.includes(link.owner.as_ref())
            && self.tag.as_ref().is_none_or(tag)
            && self
                .target
                .as_ref()
                .is_none_or(|target| *target == link.target)
            && self.created.includes(link.created_at)
            && expires()
            && self.search.as_ref().is_none_or(|term| is_found(term, link))
    }
}

fn is_found(term: &SearchTerm, link: &LinkRecord) -> bool {
    if term.is_prefix() {
        return link.codes().any(|code| term.begins(code.as_str()));
    }
    let labels = link.title.iter().chain(&link.note).chain(&link.tags);
    link.codes().any(|code| term.is_in(code.as_str()))
        || term.is_in(&link.target)
        || labels.into_iter().any(|label| term.is_in(label))
}
