//! `/api/docs`: the document of the API for people, on one page. It needs no JavaScript, and nothing of other sites.

mod view;

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType, HeaderValue},
};
use askama::Template;
use tracing::warn;

use self::view::{Group, groups};
use super::openapi::{Last, METHODS, document, server, unless_known};
use crate::{
    http::{AppState, edge::RequestContext, problem::ApiError},
    telemetry::chain,
};

/// The page may use its own style, and nothing else.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; \
     frame-ancestors 'none'",
);

static LAST: Last = Last::new();

/// As [`LAST`], for a path with a slash at its end.
static LAST_BELOW: Last = Last::new();

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    /// What URLs of this service begin with.
    base: &'a str,
    /// Where the document is, from here.
    document: &'a str,
    groups: Vec<Group>,
}

/// `GET`: the page. Like the document, it needs no key.
pub(super) fn answer(state: &AppState, context: &RequestContext) -> Result<HttpResponse, ApiError> {
    if !METHODS.contains(context.method()) {
        return Err(ApiError::MethodNotAllowed { allowed: METHODS });
    }
    let base = server(state, context)?;
    // A proxy may put a path in front of all others.
    let (last, document_path) = match context.path().ends_with('/') {
        true => (&LAST_BELOW, "../openapi.json"),
        false => (&LAST, "openapi.json"),
    };
    let rendered = last.of(&base, || {
        let page = Page {
            base: &base,
            document: document_path,
            groups: groups(document(), &base),
        };
        page.render().map_err(|error| {
            warn!(error = chain(&error), "the page of the API cannot be made");
            ApiError::Unavailable
        })
    })?;
    let mut response = unless_known(context, ContentType::html(), &rendered);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    Ok(response)
}
