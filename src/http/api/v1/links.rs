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
        api::representation::{represent, represent_briefly},
        problem::ApiError,
        shorten::{ShortenForm, make_link},
    },
    keys::{Scope, VerifiedKey},
};

/// `POST`: makes a link, with the fields of `POST /shorten`. 201 if it is new; 200 if the owner has had the same link
/// before. With either, the link is committed. Whoever may only make links does not learn what became of an older one.
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
