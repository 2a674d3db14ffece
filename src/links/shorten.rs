//! How a link is made.

use tracing::error;

use super::{
    Alias, CodeLength, Created, Editor, LinkOptions, Links, NewLink, ShortCode, TargetUrl, Terms,
    Unavailable,
};
use crate::owner::Owner;

/// Random codes of one length that are tried before the code grows by a character.
const ATTEMPTS_PER_LENGTH: usize = 3;

/// How many characters a code may grow by under collisions; each makes 62 times more room.
const EXTRA_LENGTH: usize = 4;

/// A link that somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where it leads.
    pub target: TargetUrl,
    /// The code that it is to have.
    pub code: WantedCode,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// When and how often it works.
    pub terms: Terms,
    /// What else it has.
    pub options: LinkOptions,
    /// Whose dead link gives way if it has the wanted alias. A random code never takes the place of a link.
    pub in_place_of: Option<Editor>,
}

/// The code that somebody wants for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedCode {
    /// Any.
    Any,
    /// Any random code of this length, or longer if every code of this length that is tried is taken.
    OfLength(CodeLength),
    /// This one.
    Alias(Alias),
}

/// A link as it was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its code.
    pub code: ShortCode,
    /// Whether it is new. A deduplicated link may have been there before.
    pub is_new: bool,
}

impl Wanted {
    /// The link to be stored; with the length of its code if that is random, `default` if no other is wanted.
    fn into_link(self, default: CodeLength) -> (NewLink, Option<CodeLength>) {
        let deduplicated =
            self.code == WantedCode::Any && self.terms.is_unlimited() && self.options.is_plain();
        let (code, random) = match self.code {
            WantedCode::Any => (ShortCode::random(default, 0), Some(default)),
            WantedCode::OfLength(length) => (ShortCode::random(length, 0), Some(length)),
            WantedCode::Alias(alias) => (alias.into_code(), None),
        };
        let link = NewLink {
            code,
            target: self.target,
            deduplicated,
            owner: self.owner,
            terms: self.terms,
            options: self.options,
            in_place_of: self.in_place_of.filter(|_| random.is_none()),
        };
        (link, random)
    }
}

impl Made {
    /// What became of a link with this code; `None` if the code is taken.
    fn of(created: Created, own: &ShortCode) -> Option<Self> {
        let (code, is_new) = match created {
            Created::Stored(code) => {
                let is_new = code == *own;
                (code, is_new)
            }
            Created::Replaced(_) => (own.clone(), true),
            Created::CodeTaken => return None,
        };
        Some(Self { code, is_new })
    }
}

/// Why a link was not made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ShortenError {
    /// Another link has that code.
    #[error("the alias is taken")]
    AliasTaken,
    /// The time for it was over before it was stored.
    #[error("the link was not tried")]
    NotTried,
    /// The store cannot answer at the moment; it may or may not have stored the link.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Links {
    /// A link as it is wanted: one that exists already, or a new one.
    ///
    /// A link for which nothing but the target is wanted is deduplicated among the links of its owner, or among those
    /// that have none. Any other link is new. On success the link is committed.
    ///
    /// # Errors
    /// [`ShortenError::AliasTaken`] if any link has the wanted alias, even one to the same target, and does not give
    /// way.
    /// [`ShortenError::Unavailable`] if the store fails, or if every code that was tried is taken.
    pub async fn shorten(&self, wanted: Wanted) -> Result<Made, ShortenError> {
        self.shorten_while(|| true, wanted).await
    }

    /// As [`shorten`](Self::shorten), as long as another attempt may begin.
    async fn shorten_while(
        &self,
        may_begin: impl Fn() -> bool,
        wanted: Wanted,
    ) -> Result<Made, ShortenError> {
        let (mut link, random) = wanted.into_link(self.code_length);
        for attempt in 1..=(EXTRA_LENGTH + 1) * ATTEMPTS_PER_LENGTH {
            if !may_begin() {
                return Err(ShortenError::NotTried);
            }
            if let Some(made) = Made::of(self.insert(&link).await?, &link.code) {
                self.tell_if_untitled(&made, &link);
                return Ok(made);
            }
            let length = random.ok_or(ShortenError::AliasTaken)?;
            link.code = ShortCode::random(length, attempt / ATTEMPTS_PER_LENGTH);
        }
        error!("every random code that was tried is taken: links.code_length is too small");
        Err(Unavailable.into())
    }

    /// As [`shorten`](Self::shorten) for several links, one after the other and all at once: in one transaction. What
    /// became of each, in their order. A link that cannot be made does not stop the others.
    ///
    /// A link whose random code was taken gets another one, alone, if `may_begin` says that there is time for it and the
    /// store has not failed at one before: else it is [`ShortenError::NotTried`].
    ///
    /// # Errors
    /// [`Unavailable`] if the store fails. No link is stored, or all that can be.
    pub async fn shorten_all(
        &self,
        wanted: Vec<Wanted>,
        may_begin: impl Fn() -> bool,
    ) -> Result<Vec<Result<Made, ShortenError>>, Unavailable> {
        let links = wanted.iter().cloned();
        let links = links.map(|wanted| wanted.into_link(self.code_length).0);
        let links: Vec<NewLink> = links.collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let created = self.insert_all(&links).await?;
        let mut all = Vec::with_capacity(created.len());
        let mut goes_on = true;
        for ((wanted, link), created) in wanted.into_iter().zip(&links).zip(created) {
            all.push(match Made::of(created, &link.code) {
                Some(made) => {
                    self.tell_if_untitled(&made, link);
                    Ok(made)
                }
                None if matches!(wanted.code, WantedCode::Alias(_)) => {
                    Err(ShortenError::AliasTaken)
                }
                // This hardly ever happens.
                None if goes_on => {
                    let made = self.shorten_while(&may_begin, wanted).await;
                    goes_on = made.is_ok();
                    made
                }
                None => Err(ShortenError::NotTried),
            });
        }
        Ok(all)
    }

    async fn insert_all(&self, links: &[NewLink]) -> Result<Vec<Created>, Unavailable> {
        let replaces = links.iter().any(|link| link.in_place_of.is_some());
        let uncertain = replaces.then(|| self.uncertain());
        let created = self.store.insert_all(links).await?;
        if let Some(uncertain) = uncertain {
            uncertain.settle();
        }
        for (link, created) in links.iter().zip(&created) {
            self.note(link, created);
        }
        Ok(created)
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, Unavailable> {
        // A link that is not in place of another one leads nobody elsewhere.
        let uncertain = link.in_place_of.as_ref().map(|_| self.uncertain());
        let created = self.store.insert(link).await?;
        if let Some(uncertain) = uncertain {
            uncertain.settle();
        }
        self.note(link, &created);
        Ok(created)
    }

    /// Makes the cache forget what a new link has changed.
    fn note(&self, link: &NewLink, created: &Created) {
        let Some(cache) = &self.cache else {
            return;
        };
        match created {
            // The code is new. The cache may remember, from a moment ago, that it is free.
            Created::Stored(code) if *code == link.code => cache.forget(code),
            Created::Replaced(codes) => {
                // All of them led to the dead link.
                for code in codes.iter().chain([&link.code]) {
                    cache.forget(code);
                }
            }
            Created::Stored(_) | Created::CodeTaken => {}
        }
    }
}
