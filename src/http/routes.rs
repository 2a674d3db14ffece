//! Which handler answers which route. The table of routes is in [`Route`].

use actix_web::{
    HttpResponse,
    dev::Payload,
    web::{self, ServiceConfig},
};

use super::{
    AppState, api,
    edge::{RequestContext, Resource},
    home::home,
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
        (Route::Follow, _) => redirect(state, context).await,
        (Route::Home, _) => Ok(home(state, context)),
        (Route::Shorten, _) => shorten(state, context, payload).await,
        (Route::Asset, Resource::Asset(asset)) => Ok(asset.answer()),
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

async fn not_found(context: RequestContext) -> HttpResponse {
    refuse(&context, &ApiError::NotFound)
}
