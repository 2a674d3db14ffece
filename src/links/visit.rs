//! Visits: when one is counted, and what a request learns without one.

use super::{Links, LookUp, ShortCode, Unavailable};

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
    /// To this URL.
    Found(String),
    /// To this URL, for the visit that this request has just used up.
    Visited(String),
    /// To a URL that only a counted visit learns.
    Withheld,
    /// Nowhere any more: expired or used up.
    Gone,
    /// There is no such link.
    Unknown,
}

impl Links {
    /// Where a code leads, by what a look-up has just `found`. Counts a visit if the link's visits are limited.
    pub(super) async fn arrive(
        &self,
        code: &ShortCode,
        found: LookUp,
        visit: impl FnOnce() -> Visit,
    ) -> Result<Resolved, Unavailable> {
        let link = match found {
            LookUp::Found(link) => link,
            LookUp::Gone => return Ok(Resolved::Gone),
            LookUp::Unknown => return Ok(Resolved::Unknown),
        };
        if !link.limited {
            return Ok(Resolved::Found(link.url));
        }
        if visit() == Visit::Uncounted {
            return Ok(Resolved::Withheld);
        }
        // Other visitors may have used up the last visit since the look-up.
        Ok(if self.store.count_visit(code).await? {
            Resolved::Visited(link.url)
        } else {
            Resolved::Gone
        })
    }
}
