//! `GET /<code>`, the fast path.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use tracing::warn;

use super::{
    AppState,
    edge::{Onlooker, RequestContext, code},
    page,
    problem::ApiError,
};
use crate::links::{Resolved, ShortCode, Visit};

/// Redirects to the target of a link. An onlooker uses up no visit. If the visits of the link are limited, it is not
/// told the target.
pub(super) async fn redirect(
    state: &AppState,
    context: &RequestContext,
) -> Result<HttpResponse, ApiError> {
    let mut code = code(context.path()).ok_or(ApiError::NotFound)?;
    let onlooker = || Onlooker::of(context.method(), context.headers());
    let visit = || match onlooker() {
        Some(_) => Visit::Uncounted,
        None => Visit::Counted,
    };
    // At most twice: the shorter code has no more underscores to leave out.
    let resolved = loop {
        match state.links.follow(&code, visit).await? {
            Resolved::Unknown if let Some(shorter) = code.without_emphasis() => code = shorter,
            resolved => break resolved,
        }
    };
    match resolved {
        Resolved::Found(url) => found(&code, url, None),
        // A cache must not lead other clients to the target.
        Resolved::Visited(url) => found(&code, url, Some("no-store")),
        Resolved::Withheld => {
            // Only onlookers are told this.
            let onlooker = onlooker().unwrap_or(Onlooker::Head);
            let labels = [onlooker.name()];
            state.metrics.onlookers.with_label_values(&labels).inc();
            withheld(onlooker)
        }
        Resolved::Gone => Err(ApiError::Gone),
        Resolved::Unknown => Err(ApiError::NotFound),
    }
}

fn found(
    code: &ShortCode,
    url: String,
    cache: Option<&'static str>,
) -> Result<HttpResponse, ApiError> {
    // Every URL that was shortened here can stand in a header. Another program has written this one to the table.
    let url = HeaderValue::try_from(url).map_err(|_| {
        warn!(%code, "the URL of this link cannot stand in a header");
        ApiError::Gone
    })?;
    let mut response = HttpResponse::Found();
    response.insert_header((header::LOCATION, url));
    if let Some(cache) = cache {
        response.insert_header((header::CACHE_CONTROL, cache));
    }
    Ok(response.finish())
}

/// The answer to an onlooker for a link that works, without its target.
fn withheld(onlooker: Onlooker) -> Result<HttpResponse, ApiError> {
    match onlooker {
        Onlooker::Head | Onlooker::Preview => Ok(page::onlooker_page()),
        // Not a success: else the browser would show this page for the click that follows.
        Onlooker::Prefetch => Err(ApiError::Prefetched),
    }
}
