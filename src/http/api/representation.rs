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
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

use super::conditions::entity_tag;
use crate::{
    http::{
        AppState,
        edge::RequestContext,
        problem::{ApiError, json_line},
        shorten::own_url,
    },
    links::{LinkRecord, LinkState, ShortCode},
    public::PublicUrl,
};

/// What caches may do with a link: nobody else's may keep it, and they must ask whether it is still so.
pub(super) const CACHED: &str = "private, no-cache";

/// A link with all that those who manage it see of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Link<'a> {
    /// Its main code.
    #[schema(example = "launch")]
    code: &'a str,
    /// The short URL with its main code.
    #[schema(format = "url", example = "https://sho.rt/launch")]
    short_url: String,
    /// Codes that lead to the same.
    further_codes: Vec<&'a str>,
    /// Where it leads.
    #[schema(format = "url", example = "https://example.com/a/long/path")]
    url: &'a str,
    /// Whose it is; `null` if it was made without a key.
    #[schema(required = true, example = "anna")]
    owner: Option<&'a str>,
    #[schema(schema_with = link_states)]
    state: &'static str,
    /// When it was made, in UTC.
    #[schema(value_type = String, required = true, format = DateTime, example = "2026-11-28T10:13:28Z")]
    created_at: Option<String>,
    /// From when on it works, in UTC; `null` if it has always worked.
    #[schema(required = true, format = DateTime)]
    starts_at: Option<String>,
    /// When it stops working, in UTC; `null` if never.
    #[schema(required = true, format = DateTime)]
    expires_at: Option<String>,
    /// When it was deleted, in UTC. It can still be restored.
    #[schema(required = true, format = DateTime)]
    deleted_at: Option<String>,
    /// How many visits it has; `null` if any number.
    #[schema(required = true)]
    max_visits: Option<u32>,
    /// How many visits were counted. Only those of links with `max_visits` are.
    visits: u32,
    /// The status of the redirect.
    #[schema(example = 302)]
    redirect: u16,
    /// Whether the query of the visitor's request is added to the target.
    forward_query: bool,
    /// Where it leads once it has expired or is used up.
    #[schema(required = true, format = "url")]
    fallback_url: Option<&'a str>,
    /// `false` if it is taken down.
    enabled: bool,
    /// Whether visitors are asked for a password.
    has_password: bool,
    /// Visitors see it only if they ask what the link is.
    #[schema(required = true, example = "The launch")]
    title: Option<&'a str>,
    /// Visitors never see it.
    #[schema(required = true)]
    note: Option<&'a str>,
    /// Visitors never see them.
    #[schema(value_type = Vec<String>)]
    tags: &'a [String],
}

/// A link with what everybody may know who has made it.
#[derive(Serialize, ToSchema)]
#[schema(as = BriefLink)]
pub(super) struct Brief<'a> {
    /// Its main code.
    #[schema(example = "launch")]
    code: &'a str,
    /// The short URL with its main code.
    #[schema(format = "url", example = "https://sho.rt/launch")]
    short_url: String,
    /// Where it leads.
    #[schema(format = "url", example = "https://example.com/a/long/path")]
    url: &'a str,
}

fn link_states() -> Object {
    let states = LinkState::ALL.map(LinkState::name);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(states))
        .description(Some(
            "What it does. If several are true, the last one of these",
        ))
        .build()
}

impl<'a> Brief<'a> {
    pub(super) fn new(base: &PublicUrl, code: &'a ShortCode, url: &'a str) -> Self {
        Self {
            code: code.as_str(),
            short_url: base.link(code.as_str()),
            url,
        }
    }
}

impl<'a> Link<'a> {
    pub(super) fn new(base: &PublicUrl, link: &'a LinkRecord) -> Self {
        Self {
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
        }
    }
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
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, CACHED))
        .insert_header((header::ETAG, entity_tag(link)))
        .content_type(ContentType::json())
        .body(json_line(&Link::new(base, link)))
}

/// Some links of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct LinkPage<'a> {
    /// In the order of the list.
    links: Vec<Link<'a>>,
    /// The cursor of the next page; `null` if this is the last one.
    #[schema(required = true)]
    next: Option<String>,
}

/// An answer with a page of links, the cursor of the next page, and the `Link` header that leads there.
pub(super) fn represent_page(
    base: &PublicUrl,
    links: &[LinkRecord],
    next: Option<String>,
    link: Option<String>,
) -> HttpResponse {
    let links = links.iter().map(|link| Link::new(base, link)).collect();
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, CACHED));
    if let Some(link) = link {
        response.insert_header((header::LINK, link));
    }
    response
        .content_type(ContentType::json())
        .body(json_line(&LinkPage { links, next }))
}

/// An answer with a link that there was before, for somebody who may only make links: what it has beside its target is
/// not for them.
pub(super) fn represent_briefly(base: &PublicUrl, code: &ShortCode, url: &str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, CACHED))
        .content_type(ContentType::json())
        .body(json_line(&Brief::new(base, code, url)))
}

/// The time in UTC, as RFC 3339 writes it, in whole seconds.
pub(in crate::http) fn timestamp(time: Option<SystemTime>) -> Option<String> {
    let time = OffsetDateTime::from(time?);
    // Only a year that has more or less than four digits cannot be written.
    time.truncate_to_second().format(&Rfc3339).ok()
}
