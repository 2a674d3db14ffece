//! Every public route.

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};

use super::{AppState, Route, error::ApiError, handlers};

/// `GET /`, `POST /shorten`, `GET /<code>`; nothing else.
///
/// Written out instead of given to actix-web's router, which would match every path against a regular expression, at
/// more than a third of what it takes to answer with a redirect.
pub(super) async fn answer(
    state: &AppState,
    route: Route,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    match (route, request.method()) {
        (Route::Home, &(Method::GET | Method::HEAD)) => Ok(handlers::home(request)),
        (Route::Shorten, &Method::POST) => handlers::shorten(state, request, payload).await,
        (Route::Follow, &(Method::GET | Method::HEAD)) => handlers::follow(state, request).await,
        (Route::Shorten, _) => Err(ApiError::MethodNotAllowed { allow: "POST" }),
        (Route::Home | Route::Follow, _) => Err(ApiError::MethodNotAllowed { allow: "GET, HEAD" }),
        (Route::Other, _) => Err(ApiError::NotFound),
    }
}
