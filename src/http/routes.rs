//! Every public route.

use actix_web::{
    HttpResponse, Resource,
    web::{self, ServiceConfig},
};

use super::{error::ApiError, handlers};

/// `GET /`, `POST /shorten`, `GET /<code>`; nothing else.
pub(super) fn public(config: &mut ServiceConfig) {
    config
        .service(
            only(web::resource("/"), "GET, HEAD")
                .get(handlers::home)
                .head(handlers::home),
        )
        .service(only(web::resource("/shorten"), "POST").post(handlers::shorten))
        .service(
            only(web::resource("/{code}"), "GET, HEAD")
                .get(handlers::follow)
                .head(handlers::follow),
        )
        .default_service(web::to(not_found));
}

/// Any other method is told which ones are allowed.
fn only(resource: Resource, allow: &'static str) -> Resource {
    resource.default_service(web::to(move || async move {
        Err::<HttpResponse, _>(ApiError::MethodNotAllowed { allow })
    }))
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}
