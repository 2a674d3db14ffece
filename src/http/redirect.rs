//! `GET /<code>`

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
};
use tracing::warn;

use crate::{
    http::{
        AppState,
        edge::{Onlooker, code},
        problem::ApiError,
    },
    links::{Resolved, ShortCode, Visit},
};

/// A redirect. One that only looks does not use up a visit, and is not told where a link leads whose visits are limited.
pub(super) async fn follow(
    state: &AppState,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut code = code(request.path()).ok_or(ApiError::NotFound)?;
    let visit = || match Onlooker::of(request) {
        Some(_) => Visit::Uncounted,
        None => Visit::Counted,
    };
    // Twice at the most: the shorter code has nothing more to leave out.
    let resolved = loop {
        match state.links.follow(&code, visit).await? {
            Resolved::Unknown if let Some(shorter) = code.without_emphasis() => code = shorter,
            resolved => break resolved,
        }
    };
    match resolved {
        Resolved::Found(url) => redirect(&code, url, None),
        // It must lead nobody else to the target out of a cache.
        Resolved::Visited(url) => redirect(&code, url, Some("no-store")),
        Resolved::Withheld => {
            // Known to be one, or it would have been told.
            let onlooker = Onlooker::of(request).unwrap_or(Onlooker::Head);
            let labels = [onlooker.name()];
            state.metrics.onlookers.with_label_values(&labels).inc();
            onlooker.answer()
        }
        Resolved::Gone => Err(ApiError::Gone),
        Resolved::Unknown => Err(ApiError::NotFound),
    }
}

fn redirect(
    code: &ShortCode,
    url: String,
    cache: Option<&'static str>,
) -> Result<HttpResponse, ApiError> {
    // Nothing that was shortened here: somebody has written to the table.
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
