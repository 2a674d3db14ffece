//! Visits: when one is counted, and what a request learns without one.

use std::time::Duration;

use super::{Link, Links, LookUp, Manner, PasswordHash, ShortCode, Unavailable};

/// Whether a request for a link counts as a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// A visitor follows it: this counts towards the link's visits.
    Counted,
    /// An onlooker only looks at it, as `HEAD` does or a link preview.
    Uncounted,
}

/// Where a code leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// To this destination.
    Found(Destination),
    /// To this destination, for the visit that this request has just used up.
    Visited(Destination),
    /// To a URL that only a counted visit learns.
    Withheld,
    /// To a URL that only those learn who know the link's password.
    Locked(Box<LockedLink>),
    /// To this URL, because the link has expired or is used up.
    FallsBack(String),
    /// Nowhere any more: expired, used up, disabled or deleted.
    Gone,
    /// There is no such link, or it does not work yet.
    Unknown,
}

/// Where a link leads, and how visitors are led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The target.
    pub url: String,
    /// How visitors are led there.
    pub manner: Manner,
    /// How much longer the link works.
    pub expires_in: Option<Duration>,
}

impl Destination {
    /// The link may lead elsewhere by now: nobody may remember it.
    pub(super) fn in_doubt(self) -> Self {
        Self {
            expires_in: Some(Duration::ZERO),
            ..self
        }
    }
}

/// A link that works, and has a password. [`Links::enter`] leads those to its target who know the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedLink {
    /// What is stored of the password.
    pub password: PasswordHash,
    /// The link, as if it had none.
    pub(super) link: Link,
}

/// A link without options.
impl From<String> for Destination {
    fn from(url: String) -> Self {
        Self {
            url,
            manner: Manner::default(),
            expires_in: None,
        }
    }
}

impl Links {
    /// Where a code leads, by what a look-up has just `found`. Counts a visit if the link's visits are limited.
    pub(super) async fn arrive(
        &self,
        code: &ShortCode,
        found: LookUp,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let mut link = match found {
            LookUp::Found(link) => link,
            LookUp::FallsBack(url) => return Ok(Resolved::FallsBack(url)),
            LookUp::Gone => return Ok(Resolved::Gone),
            // Its owner may not want it to be known yet.
            LookUp::NotStarted(_) | LookUp::Unknown => return Ok(Resolved::Unknown),
        };
        if let Some(password) = link.password.take() {
            return Ok(Resolved::Locked(Box::new(LockedLink { password, link })));
        }
        self.lead(code, link, visit).await
    }

    /// Where a link leads somebody who knows its password. Counts a visit if the link's visits are limited: being asked
    /// for the password is none.
    ///
    /// # Errors
    /// [`Unavailable`] if the visit cannot be counted.
    pub async fn enter(
        &self,
        code: &ShortCode,
        locked: LockedLink,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        self.lead(code, locked.link, visit).await
    }

    async fn lead(
        &self,
        code: &ShortCode,
        link: Link,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let destination = Destination {
            url: link.url,
            manner: link.manner,
            expires_in: link.expires_in,
        };
        if !link.limited {
            return Ok(Resolved::Found(destination));
        }
        if visit() == Visit::Uncounted {
            return Ok(Resolved::Withheld);
        }
        // Other visitors may have used up the last visit since the look-up.
        Ok(if self.store.count_visit(code).await? {
            Resolved::Visited(destination)
        } else {
            link.fallback.map_or(Resolved::Gone, Resolved::FallsBack)
        })
    }
}
