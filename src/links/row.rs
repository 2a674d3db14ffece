//! What both databases answer to a look-up of a code.

use std::time::Duration;

use super::{Link, LookUp, Manner, Redirect};

/// A row of the answer. Of a code that is unknown, everything is null.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    /// `works`, `early` (it has not started), `over` (it has expired or is used up), `down` (it is disabled or deleted).
    state: Option<String>,
    original_url: Option<String>,
    redirect: Option<i16>,
    forward_query: Option<bool>,
    fallback_url: Option<String>,
    limited: Option<bool>,
    /// Seconds.
    expires_in: Option<f64>,
    /// Seconds.
    starts_in: Option<f64>,
}

impl From<Row> for LookUp {
    fn from(row: Row) -> Self {
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let (Some(state), Some(url)) = (row.state, row.original_url) else {
            return Self::Unknown;
        };
        match &*state {
            "works" => Self::Found(Link {
                url,
                manner: Manner {
                    redirect: row.redirect.and_then(redirect).unwrap_or_default(),
                    forward_query: row.forward_query == Some(true),
                },
                fallback: row.fallback_url,
                limited: row.limited == Some(true),
                expires_in: row.expires_in.map(duration),
            }),
            // Without a number: never.
            "early" => Self::NotStarted(row.starts_in.map_or(Duration::MAX, duration)),
            "over" => row.fallback_url.map_or(Self::Gone, Self::FallsBack),
            _ => Self::Gone,
        }
    }
}

/// The table's CHECK lets no other number in.
fn redirect(status: i16) -> Option<Redirect> {
    Redirect::try_from(u16::try_from(status).ok()?).ok()
}
