//! `GET /<code>`

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderValue},
    },
};
use tracing::warn;

use crate::{
    http::{AppState, error::ApiError},
    links::{Resolved, ShortCode, Visit},
};

/// A redirect. `HEAD` only looks: it does not use up a visit.
pub(in crate::http) async fn follow(
    state: &AppState,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let code = request.path().strip_prefix('/').and_then(ShortCode::parse);
    let code = code.ok_or(ApiError::NotFound)?;
    let visit = match *request.method() {
        Method::HEAD => Visit::Uncounted,
        _ => Visit::Counted,
    };
    match state.links.follow(&code, visit).await? {
        Resolved::Found(url) => match HeaderValue::try_from(url) {
            Ok(url) => Ok(HttpResponse::Found()
                .insert_header((header::LOCATION, url))
                .finish()),
            // Nothing that was shortened here: somebody has written to the table.
            Err(_) => {
                warn!(%code, "the URL of this link cannot stand in a header");
                Err(ApiError::Gone)
            }
        },
        Resolved::Gone => Err(ApiError::Gone),
        Resolved::Unknown => Err(ApiError::NotFound),
    }
}
