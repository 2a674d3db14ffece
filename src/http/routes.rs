//! Every public route.

use actix_web::{HttpRequest, HttpResponse, web::Payload};

use super::{
    AppState, edge::Resource, home::home, problem::ApiError, redirect::follow, shorten::shorten,
};
use crate::public::Route;

/// `GET /`, `POST /shorten`, `GET /<code>`, and what a browser fetches by itself; nothing else.
///
/// Written out instead of given to actix-web's router, which would match every path against a regular expression, at
/// more than a third of what it takes to answer with a redirect.
pub(super) async fn answer(
    state: &AppState,
    route: Route,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    match route {
        Route::Home => Ok(home(request)),
        Route::Shorten => shorten(state, request, payload).await,
        Route::Follow => follow(state, request).await,
        Route::Asset | Route::Other => match Resource::of_path(request.path()) {
            Resource::Asset(asset) if route == Route::Asset => Ok(asset.answer()),
            resource => Err(match resource.methods() {
                [] => ApiError::NotFound,
                allowed => ApiError::MethodNotAllowed { allowed },
            }),
        },
    }
}
