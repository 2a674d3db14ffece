//! A link as the API shows it.

use std::time::SystemTime;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::conditions::entity_tag;
use crate::{
    http::{
        AppState,
        edge::RequestContext,
        problem::{ApiError, json_line},
        shorten::own_url,
    },
    links::{LinkRecord, ShortCode},
    public::PublicUrl,
};

/// What caches may do with a link: nobody else's may keep it, and they must ask whether it is still so.
pub(super) const CACHED: &str = "private, no-cache";

#[derive(Serialize)]
struct Link<'a> {
    code: &'a str,
    short_url: String,
    further_codes: Vec<&'a str>,
    url: &'a str,
    owner: Option<&'a str>,
    state: &'static str,
    created_at: Option<String>,
    starts_at: Option<String>,
    expires_at: Option<String>,
    deleted_at: Option<String>,
    max_visits: Option<u32>,
    visits: u32,
    redirect: u16,
    forward_query: bool,
    fallback_url: Option<&'a str>,
    enabled: bool,
    has_password: bool,
    title: Option<&'a str>,
    note: Option<&'a str>,
    tags: &'a [String],
}

/// What short URLs begin with for this request.
///
/// # Errors
/// [`ApiError::Malformed`] if neither the configuration nor the request says.
pub(super) fn base(state: &AppState, context: &RequestContext) -> Result<PublicUrl, ApiError> {
    own_url(state, context.origin()?)
}

/// An answer with the link, and with its entity tag.
pub(super) fn represent(status: StatusCode, base: &PublicUrl, link: &LinkRecord) -> HttpResponse {
    let body = Link {
        code: link.code.as_str(),
        short_url: base.link(link.code.as_str()),
        further_codes: link.further_codes.iter().map(ShortCode::as_str).collect(),
        url: &link.target,
        owner: link.owner.as_ref().map(|owner| owner.as_str()),
        state: link.state.name(),
        created_at: timestamp(Some(link.created_at)),
        starts_at: timestamp(link.starts_at),
        expires_at: timestamp(link.expires_at),
        deleted_at: timestamp(link.deleted_at),
        max_visits: link.max_visits,
        visits: link.visits,
        redirect: link.manner.redirect.status(),
        forward_query: link.manner.forward_query,
        fallback_url: link.fallback.as_deref(),
        enabled: link.enabled,
        has_password: link.has_password,
        title: link.title.as_deref(),
        note: link.note.as_deref(),
        tags: &link.tags,
    };
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, CACHED))
        .insert_header((header::ETAG, entity_tag(link)))
        .content_type(ContentType::json())
        .body(json_line(&body))
}

/// An answer with a link that there was before, for somebody who may only make links: what it has beside its target is
/// not for them.
pub(super) fn represent_briefly(base: &PublicUrl, code: &ShortCode, url: &str) -> HttpResponse {
    #[derive(Serialize)]
    struct Brief<'a> {
        code: &'a str,
        short_url: String,
        url: &'a str,
    }

    let body = Brief {
        code: code.as_str(),
        short_url: base.link(code.as_str()),
        url,
    };
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, CACHED))
        .content_type(ContentType::json())
        .body(json_line(&body))
}

/// The time in UTC, as RFC 3339 writes it, in whole seconds.
fn timestamp(time: Option<SystemTime>) -> Option<String> {
    let time = OffsetDateTime::from(time?);
    // Only a year that has more or less than four digits cannot be written.
    time.truncate_to_second().format(&Rfc3339).ok()
}
