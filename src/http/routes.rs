//! Which handler answers which route. The table of routes is in [`Route`].

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::Method,
    web::{self, ServiceConfig},
};

use super::{
    AppState,
    about::about,
    api,
    edge::{RequestContext, Resource, discard_body},
    home::home,
    password,
    problem::ApiError,
    redirect::redirect,
    refuse::refuse,
    shorten::shorten,
};
use crate::public::Route;

/// Answers requests for all paths but [`Resource::Nothing`], without actix-web's router. That matches a path with a
/// variable, such as `/{code}`, against a regular expression, which takes more than a third of the instructions of a
/// redirect.
pub(super) async fn answer(
    state: &AppState,
    context: &RequestContext,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    match (context.route(), context.resource()) {
        // In a box, because no redirect has to have room for it.
        (_, Resource::Api) => Box::pin(api::answer(state, context, payload)).await,
        (Route::Follow, Resource::About) => Box::pin(about(state, context)).await,
        (Route::Follow, _) => redirect(state, context).await,
        (Route::Home, _) => Ok(home(state, context)),
        (Route::Shorten, _) => shorten(state, context, payload).await,
        (Route::Asset, Resource::Asset(asset)) => Ok(asset.answer()),
        // Hardly any link has this method, so it is not of the route `follow`.
        (Route::Other, Resource::Link) if context.method() == Method::POST => {
            Box::pin(password::submit(state, context, payload)).await
        }
        (Route::Api | Route::Asset | Route::Other, resource) => Err(ApiError::MethodNotAllowed {
            allowed: resource.methods(),
        }),
    }
}

/// The services behind actix-web's router, which gets the requests for [`Resource::Nothing`]. The limit, the metrics
/// and the access line stand around it. A handler gets the [`RequestContext`] as an argument.
pub(super) fn configure(services: &mut ServiceConfig) {
    services.default_service(web::to(not_found));
}

async fn not_found(context: RequestContext, payload: web::Payload) -> HttpResponse {
    discard_body(&context, payload.into_inner()).await;
    refuse(&context, &ApiError::NotFound)
}
