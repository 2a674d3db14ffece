//! `/api/v1/links`

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};

use super::Request;
use crate::{
    http::{
        api::representation::{Link, represent, represent_briefly},
        problem::ApiError,
        shorten::{ShortenForm, make_link},
    },
    keys::{Scope, VerifiedKey},
};

/// `POST`: makes a link, with the fields of `POST /shorten`. 201 if it is new; 200 if the owner has had the same link
/// before. With either, the link is committed. Whoever may only make links does not learn what became of an older one.
#[utoipa::path(
    post,
    path = "/api/v1/links",
    tag = "Links",
    operation_id = "makeLink",
    summary = "Make a link",
    description = "It belongs to the owner of the key.",
    request_body(content(
        (ref("#/components/schemas/NewLink") = "application/json"),
        (ref("#/components/schemas/NewLinkForm") = "application/x-www-form-urlencoded"),
    )),
    responses(
        (
            status = 201,
            description = "The link is new. It is stored",
            body = Link,
            headers(
                ("ETag" = String, description = "Stands for what the link is"),
                ("Location" = String, description = "Where it is managed"),
            ),
        ),
        (
            status = 200,
            description = "Only `url` is given, and the owner has a link to that URL already. A key without the scope \
                `manage` is told only its code and its URLs",
            content_type = "application/json",
            body = ref("#/components/schemas/KnownLink"),
            headers(
                ("ETag" = String, description = "Stands for what the link is, if all of it is shown"),
                ("Location" = String, description = "Where it is managed"),
            ),
        ),
        (status = 409, description = "Another link has that alias"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    ),
)]
pub(super) async fn create(
    request: Request<'_>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let form = ShortenForm::read(context, payload, state.request_timeout).await?;
    let (base, target, made) = make_link(state, context, &form).await?;
    let may_see = |key: &Arc<VerifiedKey>| key.scopes.allows(Scope::Manage);
    let mut response = if made.is_new {
        represent(
            StatusCode::CREATED,
            &base,
            &request.record(&made.code).await?,
        )
    } else if context.key().is_some_and(may_see) {
        represent(StatusCode::OK, &base, &request.record(&made.code).await?)
    } else {
        represent_briefly(&base, &made.code, target.as_str())
    };
    let location = format!("/api/v1/links/{}", made.code);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
