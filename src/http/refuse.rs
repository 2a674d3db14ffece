//! An error as the client wants it: as a page for a browser, as problem+json for any other client.

use actix_web::HttpResponse;

use super::{
    edge::{RequestContext, Resource},
    page::{self, form_action},
    problem::ApiError,
};
use crate::public::Route;

/// The answer to a request that failed.
pub(super) fn refuse(context: &RequestContext, error: &ApiError) -> HttpResponse {
    refuse_form(context, error, "")
}

/// The answer to a form that failed. The page's form has `url` in its field, so that its user can correct it.
pub(super) fn refuse_form(context: &RequestContext, error: &ApiError, url: &str) -> HttpResponse {
    if !context.wants_page() {
        return error.problem();
    }
    let title = error.status().canonical_reason().unwrap_or("Error");
    // A form that was sent to a link was the one for its password.
    let is_link = context.route() == Route::Other && context.resource() == Resource::Link;
    let form = form_action(context.path()).filter(|_| !is_link);
    page::error_page(error.response(), title, &error.to_string(), form, url)
}
