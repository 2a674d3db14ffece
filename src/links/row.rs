//! What both databases answer to a look-up of a code, and to somebody who manages links.

use std::time::{Duration, SystemTime};

use super::{
    Link, LinkRecord, LinkState, LookUp, Manner, OwnerCount, PasswordHash, Redirect, ShortCode,
    TagCount, Whose, find::BlockSummary,
};
use crate::owner::Owner;

/// A row of the answer to a look-up. Of a code that is unknown, everything is null.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    /// `works`, `early` (it has not started), `over` (it has expired or is used up), `down` (it is disabled or deleted).
    state: Option<String>,
    original_url: Option<String>,
    redirect: Option<i16>,
    forward_query: Option<bool>,
    fallback_url: Option<String>,
    limited: Option<bool>,
    password_hash: Option<String>,
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
                password: row.password_hash.map(PasswordHash::from_store),
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

/// A link, for those who manage it. Times are Unix seconds.
#[derive(sqlx::FromRow)]
pub(super) struct RecordRow {
    pub(super) id: i64,
    short_code: String,
    /// A JSON array, or null.
    further_codes: Option<String>,
    original_url: String,
    owner: Option<String>,
    created_at: f64,
    starts_at: Option<f64>,
    /// The real expiry, of a hidden link too.
    expires_at: Option<f64>,
    max_visits: Option<i64>,
    visits: i64,
    redirect: Option<i16>,
    forward_query: bool,
    fallback_url: Option<String>,
    enabled: bool,
    title: Option<String>,
    note: Option<String>,
    /// A JSON array, or null.
    tags: Option<String>,
    password_hash: Option<String>,
    deleted_at: Option<f64>,
    read_at: f64,
}

impl From<RecordRow> for LinkRecord {
    fn from(row: RecordRow) -> Self {
        let texts = |json: Option<String>| -> Vec<String> {
            json.and_then(|json| serde_json::from_str(&json).ok())
                .unwrap_or_default()
        };
        let visits = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        let state = row.state();
        let further_codes = texts(row.further_codes).into_iter();
        Self {
            id: row.id,
            state,
            code: ShortCode::from_store(row.short_code),
            further_codes: further_codes.map(ShortCode::from_store).collect(),
            target: row.original_url,
            owner: row.owner.map(Owner::from_store),
            created_at: time(row.created_at),
            starts_at: row.starts_at.map(time),
            expires_at: row.expires_at.map(time),
            max_visits: row.max_visits.map(visits),
            visits: visits(row.visits.max(0)),
            manner: Manner {
                redirect: row.redirect.and_then(redirect).unwrap_or_default(),
                forward_query: row.forward_query,
            },
            fallback: row.fallback_url,
            enabled: row.enabled,
            title: row.title,
            note: row.note,
            tags: texts(row.tags),
            has_password: row.password_hash.is_some(),
            password: row.password_hash.map(PasswordHash::from_store),
            deleted_at: row.deleted_at.map(time),
            read_at: time(row.read_at),
        }
    }
}

impl RecordRow {
    fn state(&self) -> LinkState {
        if self.deleted_at.is_some() {
            LinkState::Deleted
        } else if !self.enabled {
            LinkState::Disabled
        } else if self.expires_at.is_some_and(|at| at <= self.read_at) {
            LinkState::Expired
        } else if self.max_visits.is_some_and(|most| self.visits >= most) {
            LinkState::UsedUp
        } else if self.starts_at.is_some_and(|at| at > self.read_at) {
            LinkState::Scheduled
        } else {
            LinkState::Active
        }
    }
}

/// The time of a number of Unix seconds; the nearest that there is, for one that an administrator has made up.
fn time(seconds: f64) -> SystemTime {
    // More than the calendar of any system holds would panic in the addition.
    let bounded = seconds.clamp(-1e11, 1e11);
    let duration = Duration::try_from_secs_f64(bounded.abs()).unwrap_or_default();
    if bounded < 0.0 {
        SystemTime::UNIX_EPOCH - duration
    } else {
        SystemTime::UNIX_EPOCH + duration
    }
}

/// A block of the index of links. Times are Unix seconds.
#[derive(sqlx::FromRow)]
pub(super) struct BlockRow {
    block: i64,
    created_first: Option<f64>,
    created_last: Option<f64>,
    row_bytes: i64,
}

impl From<BlockRow> for BlockSummary {
    fn from(row: BlockRow) -> Self {
        let created = row.created_first.zip(row.created_last);
        Self {
            block: row.block,
            created: created.map(|(first, last)| time(first)..time(last)),
            row_bytes: usize::try_from(row.row_bytes).unwrap_or_default(),
        }
    }
}

impl From<(String, i64)> for TagCount {
    fn from((tag, links): (String, i64)) -> Self {
        let links = links.unsigned_abs();
        Self { tag, links }
    }
}

impl From<(Option<String>, i64)> for OwnerCount {
    fn from((owner, links): (Option<String>, i64)) -> Self {
        Self {
            owner: owner.map(Owner::from_store),
            links: links.unsigned_abs(),
        }
    }
}

/// For a statement: `anyone`, or an owner and its name, which is null for links without an owner.
pub(super) fn whose(whose: &Whose) -> (&'static str, Option<&str>) {
    match whose {
        Whose::Anyone => ("anyone", None),
        Whose::Nobody => ("owner", None),
        Whose::Owner(owner) => ("owner", Some(owner.as_str())),
    }
}
