//! Codes that lead nowhere, or that do so only as they are written.

use actix_web::{HttpResponse, http::header};

use super::{AppState, problem::ApiError};
use crate::links::{ShortCode, TargetUrl};

/// What is there under a code; if that is nothing, what is there under the code without what may be markup around the
/// link. Returns the code that counts, too.
pub(super) async fn find<T, E>(
    code: ShortCode,
    ask: impl AsyncFn(&ShortCode) -> Result<T, E>,
    is_nothing: impl FnOnce(&T) -> bool,
) -> Result<(ShortCode, T), E> {
    let found = ask(&code).await?;
    if is_nothing(&found)
        && let Some(shorter) = code.without_emphasis()
    {
        let found = ask(&shorter).await?;
        return Ok((shorter, found));
    }
    Ok((code, found))
}

/// The answer for a code that no link has.
pub(super) fn nowhere(state: &AppState) -> Result<HttpResponse, ApiError> {
    let url = state.not_found_url.as_ref();
    url.map(lead_to).ok_or(ApiError::NotFound)
}

/// Leads to a URL from the configuration. No cache may keep the answer: the configuration may change, and the link may
/// exist in a moment.
pub(super) fn lead_to(url: &TargetUrl) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, url.as_str()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}
