//! How a link is made.

use tracing::error;

use super::{Alias, Created, Links, NewLink, ShortCode, TargetUrl, Terms, Unavailable};

/// Random codes of one length that are tried before the code grows by a character.
const ATTEMPTS_PER_LENGTH: usize = 3;

/// How many characters a code may grow by under collisions; each makes 62 times more room.
const EXTRA_LENGTH: usize = 4;

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
    /// The code of a link to `target`: the code that `target` already has, or a new one.
    ///
    /// Links with `terms` of their own (an expiry, a number of visits) are never deduplicated: each gets a new code.
    /// On success the link is committed.
    ///
    /// # Errors
    /// [`ShortenError::Unavailable`] if the store fails, or if every code that was tried is taken.
    pub async fn shorten(
        &self,
        target: &TargetUrl,
        terms: Terms,
    ) -> Result<ShortCode, ShortenError> {
        for extra in 0..=EXTRA_LENGTH {
            for _ in 0..ATTEMPTS_PER_LENGTH {
                let link = NewLink {
                    code: ShortCode::random(self.code_length, extra),
                    target: target.clone(),
                    deduplicated: terms.is_unlimited(),
                    terms,
                };
                match self.insert(&link).await? {
                    Created::Stored(code) => return Ok(code),
                    Created::CodeTaken => {}
                }
            }
        }
        error!("every random code that was tried is taken: links.code_length is too small");
        Err(Unavailable.into())
    }

    /// Makes a link to `target` under a code of the caller's choice.
    ///
    /// # Errors
    /// [`ShortenError::AliasTaken`] if any link has that code, even one to the same target.
    pub async fn shorten_as(
        &self,
        alias: Alias,
        target: &TargetUrl,
        terms: Terms,
    ) -> Result<ShortCode, ShortenError> {
        let link = NewLink {
            code: alias.into_code(),
            target: target.clone(),
            deduplicated: false,
            terms,
        };
        match self.insert(&link).await? {
            Created::Stored(code) => Ok(code),
            Created::CodeTaken => Err(ShortenError::AliasTaken),
        }
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, Unavailable> {
        let created = self.store.insert(link).await?;
        if let (Created::Stored(code), Some(cache)) = (&created, &self.cache)
            && *code == link.code
        {
            // The code is new. The cache may remember, from a moment ago, that it is free.
            cache.forget(code);
        }
        Ok(created)
    }
}
