//! `/api/v1/links/{code}`

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
};

use super::{Request, change::read_change};
use crate::{
    http::{
        api::{
            conditions::{entity_tag, is_known, only_if},
            representation::{CACHED, base, represent},
        },
        problem::ApiError,
    },
    links::{Operation, ShortCode},
};

/// `GET`: the link, or 304 if the client has it as it is.
pub(super) async fn show(request: Request<'_>, code: ShortCode) -> Result<HttpResponse, ApiError> {
    let link = request.record(&code).await?;
    let Request { state, context, .. } = request;
    if is_known(context.headers(), &entity_tag(&link)) {
        let mut response = HttpResponse::NotModified();
        response.insert_header((header::ETAG, entity_tag(&link)));
        response.insert_header((header::CACHE_CONTROL, CACHED));
        return Ok(response.finish());
    }
    Ok(represent(StatusCode::OK, &base(state, context)?, &link))
}

/// `PATCH`: changes what the body names, and nothing else.
pub(super) async fn change(
    request: Request<'_>,
    code: ShortCode,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let change = read_change(state, context, payload).await?;
    let base = base(state, context)?;
    let only_if = only_if(context.headers());
    let operation = Operation::Change(Box::new(change));
    let link = request.edit(code, only_if, operation).await?;
    Ok(represent(StatusCode::OK, &base, &link))
}

/// `DELETE`: deletes the link, so that it can be restored for a while.
pub(super) async fn delete(
    request: Request<'_>,
    code: ShortCode,
) -> Result<HttpResponse, ApiError> {
    let only_if = only_if(request.context.headers());
    request.edit(code, only_if, Operation::Delete).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST …/restore`: restores a deleted link.
pub(super) async fn restore(
    request: Request<'_>,
    code: ShortCode,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let base = base(state, context)?;
    let only_if = only_if(context.headers());
    let restore = state.links.restore();
    let link = request.edit(code, only_if, restore).await?;
    Ok(represent(StatusCode::OK, &base, &link))
}
