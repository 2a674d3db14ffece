//! What can be done to a link that exists.

use std::time::{Duration, SystemTime};

use super::{
    Alias, CodeCase, Expiry, LinkRecord, LinkState, Note, PasswordHash, Redirect, ShortCode, Tags,
    TargetUrl, Title, Version,
};
use crate::owner::Owner;

/// The most codes that a link may have beside its main one. A change of a link announces each of them.
pub const MAX_FURTHER_CODES: usize = 50;

/// Who manages links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Editor {
    /// An owner, for whom only its own links are there.
    Owner(Owner),
    /// Somebody who may change every link.
    Administrator,
}

impl Editor {
    /// Whether a link of this owner is there for the editor.
    pub fn may_edit(&self, owner: Option<&Owner>) -> bool {
        match self {
            Self::Owner(own) => owner == Some(own),
            Self::Administrator => true,
        }
    }

    /// Whether a new link may take the place of this one: the editor may edit it, and it leads nowhere any more. A link
    /// that is deleted can then no longer be restored.
    pub(super) fn may_replace(&self, link: &LinkRecord) -> bool {
        let is_dead = matches!(
            link.state,
            LinkState::Expired | LinkState::UsedUp | LinkState::Deleted
        );
        is_dead && self.may_edit(link.owner.as_ref())
    }
}

/// Something that is to be done to a link.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Any code of the link.
    pub code: ShortCode,
    /// Who wants it.
    pub editor: Editor,
    /// Only if the link is one of these versions; `None`: in any case.
    pub only_if: Option<Vec<Version>>,
    /// What is to be done.
    pub operation: Operation,
}

/// What is to be done to a link.
#[derive(Clone, Debug)]
pub enum Operation {
    /// To change what it is made of.
    Change(Box<LinkChange>),
    /// To delete it, so that it can be restored for a while. Leaves a link alone that is deleted.
    Delete,
    /// To restore it, if it was deleted within this time. Leaves a link alone that is not deleted.
    Restore {
        /// How long ago, at the most.
        within: Duration,
    },
    /// To give it a further code.
    AddCode(Alias),
    /// To give it another main code. The main code before stays as a further code.
    Rename(Alias),
    /// To take a further code away.
    RemoveCode(ShortCode),
}

/// The parts of a link that are to be changed; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Where it leads.
    pub target: Option<TargetUrl>,
    /// When it begins to work.
    pub starts_at: Part<SystemTime>,
    /// When it stops working.
    pub expiry: Part<Expiry>,
    /// After how many visits it stops working.
    pub max_visits: Part<u32>,
    /// The status of the answer.
    pub redirect: Option<Redirect>,
    /// Whether the query of the visitor's request is added to the target's.
    pub forward_query: Option<bool>,
    /// Where it leads once it has expired or is used up.
    pub fallback: Part<TargetUrl>,
    /// Whether it works at all.
    pub enabled: Option<bool>,
    /// What visitors have to know before it leads them anywhere.
    pub password: Part<PasswordHash>,
    /// What people call it.
    pub title: Part<Title>,
    /// A note.
    pub note: Part<Note>,
    /// All its tags.
    pub tags: Option<Tags>,
}

/// What becomes of a part of a link that it need not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// The link has none any more.
    Removed,
    /// It becomes this.
    Set(T),
}

impl LinkChange {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<T> Part<T> {
    /// Whether it changes.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::Kept)
    }

    /// What it becomes, if it becomes something.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Kept | Self::Removed => None,
        }
    }
}

/// What became of an [`Edit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It is committed, and this is the link now.
    Done(Box<LinkRecord>),
    /// Nothing was changed.
    Refused(EditRefusal),
}

/// Why a link was not changed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditRefusal {
    /// There is no such link for this editor.
    #[error("there is no such link")]
    NotFound,
    /// It is none of the wanted versions any more.
    #[error("the link has been changed in the meantime")]
    Stale,
    /// It is deleted, and has to be restored first.
    #[error("the link is deleted; restore it first")]
    Deleted,
    /// It was deleted longer ago than it can be restored.
    #[error("the link was deleted too long ago to be restored")]
    TooLate,
    /// It would stop working before it starts.
    #[error("the link would have expired before it starts")]
    NeverWorks,
    /// Another link has that code.
    #[error("another link has that code")]
    CodeTaken,
    /// It has [`MAX_FURTHER_CODES`] already.
    #[error("a link has at most {MAX_FURTHER_CODES} codes beside its main one")]
    TooManyCodes,
    /// Its main code cannot be taken away.
    #[error("that is the main code of the link; give it another main code first")]
    MainCode,
    /// It has no such code.
    #[error("the link has no such code")]
    NoSuchCode,
}

impl Edit {
    /// Whether this may be done to a link as it is, or why not. `None` if there is nothing to do. The step names codes of
    /// the link as they are stored.
    ///
    /// # Errors
    /// [`EditRefusal`], except for what only the store can tell: whether another link has a code, and whether a link
    /// would expire before it starts.
    pub(super) fn step<'a>(
        &'a self,
        link: &'a LinkRecord,
        case: CodeCase,
    ) -> Result<Option<Step<'a>>, EditRefusal> {
        if !self.editor.may_edit(link.owner.as_ref()) {
            return Err(EditRefusal::NotFound);
        }
        if let Some(versions) = &self.only_if
            && !versions.contains(&link.version())
        {
            return Err(EditRefusal::Stale);
        }
        let is_main = |code: &ShortCode| case.is_same(code, &link.code);
        let further = |code: &ShortCode| {
            let mut codes = link.further_codes.iter();
            codes.find(|own| case.is_same(code, own))
        };
        let has_room = || {
            let has_room = link.further_codes.len() < MAX_FURTHER_CODES;
            has_room.then_some(()).ok_or(EditRefusal::TooManyCodes)
        };
        match (&self.operation, link.deleted_for()) {
            (Operation::Delete, Some(_)) | (Operation::Restore { .. }, None) => Ok(None),
            (Operation::Delete, None) => Ok(Some(Step::Delete)),
            (Operation::Restore { within }, Some(deleted_for)) if deleted_for > *within => {
                Err(EditRefusal::TooLate)
            }
            (Operation::Restore { .. }, Some(_)) => Ok(Some(Step::Restore)),
            (_, Some(_)) => Err(EditRefusal::Deleted),
            (Operation::Change(change), None) => {
                Ok((!change.is_empty()).then_some(Step::Change(change)))
            }
            (Operation::AddCode(alias), None) => {
                let code = alias.code();
                if is_main(code) || further(code).is_some() {
                    return Ok(None);
                }
                has_room()?;
                Ok(Some(Step::AddCode(code)))
            }
            (Operation::Rename(alias), None) => {
                let code = alias.code();
                if *code == link.code {
                    return Ok(None);
                }
                if is_main(code) {
                    return Ok(Some(Step::Respell(code)));
                }
                let further = further(code);
                if further.is_none() {
                    has_room()?;
                }
                Ok(Some(Step::Rename { code, further }))
            }
            (Operation::RemoveCode(code), None) if is_main(code) => Err(EditRefusal::MainCode),
            (Operation::RemoveCode(code), None) => match further(code) {
                Some(own) => Ok(Some(Step::RemoveCode(own))),
                None => Err(EditRefusal::NoSuchCode),
            },
        }
    }
}

/// What a store has to do, once it is known that it may.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// To change these parts.
    Change(&'a LinkChange),
    /// To mark it as deleted.
    Delete,
    /// To take the mark away.
    Restore,
    /// To give it a further code that it does not have.
    AddCode(&'a ShortCode),
    /// To give it another main code.
    Rename {
        /// The new main code.
        code: &'a ShortCode,
        /// The further code of this link that it is now.
        further: Option<&'a ShortCode>,
    },
    /// To spell its main code in this way.
    Respell(&'a ShortCode),
    /// To take away a further code that it has.
    RemoveCode(&'a ShortCode),
}

impl Step<'_> {
    /// Whether this has made of a link what would never work.
    pub(super) fn breaks(self, link: &LinkRecord) -> bool {
        let Self::Change(change) = self else {
            return false;
        };
        let is_about_time = change.starts_at.changes() || change.expiry.changes();
        let times = link.starts_at.zip(link.expires_at);
        is_about_time && times.is_some_and(|(start, end)| start >= end)
    }
}

impl Edited {
    /// The link, if the edit is committed.
    pub fn record(self) -> Result<LinkRecord, EditRefusal> {
        match self {
            Self::Done(record) => Ok(*record),
            Self::Refused(why) => Err(why),
        }
    }
}
