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

/// Why a link was not made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ShortenError {
    /// Another link has that code.
    #[error("the alias is taken")]
    AliasTaken,
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
        let deduplicated = wanted.code == WantedCode::Any
            && wanted.terms.is_unlimited()
            && wanted.options.is_plain();
        let (length, alias) = match wanted.code {
            WantedCode::Any => (self.code_length, None),
            WantedCode::OfLength(length) => (length, None),
            WantedCode::Alias(alias) => (self.code_length, Some(alias.into_code())),
        };
        let has_alias = alias.is_some();
        let mut link = NewLink {
            code: alias.unwrap_or_else(|| ShortCode::random(length, 0)),
            target: wanted.target,
            deduplicated,
            owner: wanted.owner,
            terms: wanted.terms,
            options: wanted.options,
            in_place_of: wanted.in_place_of.filter(|_| has_alias),
        };
        for attempt in 1..=(EXTRA_LENGTH + 1) * ATTEMPTS_PER_LENGTH {
            match self.insert(&link).await? {
                Created::Stored(code) => {
                    let is_new = code == link.code;
                    return Ok(Made { code, is_new });
                }
                Created::Replaced(_) => {
                    let (code, is_new) = (link.code, true);
                    return Ok(Made { code, is_new });
                }
                Created::CodeTaken if has_alias => return Err(ShortenError::AliasTaken),
                Created::CodeTaken => {
                    link.code = ShortCode::random(length, attempt / ATTEMPTS_PER_LENGTH);
                }
            }
        }
        error!("every random code that was tried is taken: links.code_length is too small");
        Err(Unavailable.into())
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, Unavailable> {
        // A link that is not in place of another one leads nobody elsewhere.
        let uncertain = link.in_place_of.as_ref().map(|_| self.uncertain());
        let created = self.store.insert(link).await?;
        if let Some(uncertain) = uncertain {
            uncertain.settle();
        }
        let Some(cache) = &self.cache else {
            return Ok(created);
        };
        match &created {
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
        Ok(created)
    }
}
