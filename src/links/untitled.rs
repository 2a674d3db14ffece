//! Links that were made without a title, and the titles that they get later.

use super::{
    Edit, EditRefusal, Edited, Editor, LinkChange, Links, Made, NewLink, Operation, Part,
    ShortCode, TargetUrl, Title, Unavailable,
};

/// How often a link is read again because somebody has changed it in the meantime.
const ATTEMPTS: usize = 3;

/// A link that was made without a title.
#[derive(Clone, Debug)]
pub struct Untitled {
    /// Its code.
    pub code: ShortCode,
    /// Where it leads.
    pub target: TargetUrl,
}

/// What became of a title that was found for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entitled {
    /// It is the title of the link.
    Stored,
    /// The link has a title, a password or another target by now, or is gone.
    Obsolete,
}

/// Is told of each link that was made without a title.
pub(super) type Listener = Box<dyn Fn(Untitled) + Send + Sync>;

impl Links {
    /// Tells `listener` of each link that is made without a title. It is called before the request is answered, and must
    /// not wait for anything.
    #[must_use]
    pub fn telling_of_untitled(
        mut self,
        listener: impl Fn(Untitled) + Send + Sync + 'static,
    ) -> Self {
        self.untitled = Some(Box::new(listener));
        self
    }

    /// To be called with each link as it was made. Not of interest are one that was there before, and one with a
    /// password: everybody may read its title, which would tell where it leads.
    pub(super) fn tell_if_untitled(&self, made: &Made, link: &NewLink) {
        let options = &link.options;
        if let Some(listener) = &self.untitled
            && made.is_new
            && options.labels.title.is_none()
            && options.password.is_none()
        {
            listener(Untitled {
                code: link.code.clone(),
                target: link.target.clone(),
            });
        }
    }

    /// Gives a link a title, if it still has none, no password, and still the same target. Nothing that others change at the same
    /// time is undone.
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails.
    pub async fn entitle(&self, link: &Untitled, title: Title) -> Result<Entitled, Unavailable> {
        for _ in 0..ATTEMPTS {
            let editor = Editor::Administrator;
            let Some(record) = self.record(&link.code, &editor).await? else {
                break;
            };
            let is_locked = record.has_password;
            if record.title.is_some() || is_locked || record.target != link.target.as_str() {
                break;
            }
            let change = LinkChange {
                title: Part::Set(title.clone()),
                ..LinkChange::default()
            };
            let edit = Edit {
                code: link.code.clone(),
                editor,
                only_if: Some(vec![record.version()]),
                operation: Operation::Change(Box::new(change)),
            };
            match self.edit(&edit).await? {
                Edited::Done(_) => return Ok(Entitled::Stored),
                Edited::Refused(EditRefusal::Stale) => {}
                Edited::Refused(_) => break,
            }
        }
        Ok(Entitled::Obsolete)
    }
}
