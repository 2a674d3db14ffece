//! `/api/v1/links/{code}`

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
};

use super::{
    Request,
    change::{Patch, read_patch},
};
use crate::{
    http::{
        api::{
            conditions::{entity_tag, is_known, only_if},
            representation::{CACHED, Link, base, represent},
        },
        problem::ApiError,
        rate_limit::client_name,
    },
    links::{EditRefusal, Operation, Part, ShortCode},
};

/// `GET`: the link, or 304 if the client has it as it is.
#[utoipa::path(
    get,
    path = "/api/v1/links/{code}",
    tag = "Links",
    operation_id = "showLink",
    summary = "Show a link",
    description = "Also a deleted one, while it can be restored.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is known already"),
    ),
    responses(
        (
            status = 200,
            description = "The link as it is now",
            body = Link,
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (
            status = 304,
            description = "It is what `If-None-Match` says",
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (status = 404, description = "There is no such link for this key"),
    ),
)]
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
#[utoipa::path(
    patch,
    path = "/api/v1/links/{code}",
    tag = "Links",
    operation_id = "changeLink",
    summary = "Change a link",
    description = "A merge patch (RFC 7396): what is there is changed, what is `null` is removed, all else stays.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("If-Match" = Option<String>, Header, description = "Only if the link is still what this `ETag` stands for"),
    ),
    request_body(content(
        (ref("#/components/schemas/LinkChange") = "application/json"),
        (ref("#/components/schemas/LinkChange") = "application/merge-patch+json"),
    )),
    responses(
        (
            status = 200,
            description = "The link as it is now",
            body = Link,
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (status = 404, description = "There is no such link for this key"),
        (status = 409, description = "The link is deleted"),
        (status = 412, description = "The link is not what `If-Match` says"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    ),
)]
pub(super) async fn change(
    request: Request<'_>,
    code: ShortCode,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let Patch {
        mut change,
        password,
    } = read_patch(state, context, payload).await?;
    let base = base(state, context)?;
    let only_if = only_if(context.headers());
    change.password = match password {
        Part::Kept => Part::Kept,
        Part::Removed => Part::Removed,
        Part::Set(password) => {
            // Hashing is work: not for a link that is not there for this key, or is not what the client takes it for. The
            // edit looks again.
            let link = request.record(&code).await?;
            if only_if
                .as_ref()
                .is_some_and(|versions| !versions.contains(&link.version()))
            {
                return Err(EditRefusal::Stale.into());
            }
            let client = client_name(state.rate_limit.as_ref(), context);
            Part::Set(state.links.hash_password(&client, password).await?)
        }
    };
    let operation = Operation::Change(Box::new(change));
    request.confirm().await?;
    let link = request.edit(code, only_if, operation).await?;
    Ok(represent(StatusCode::OK, &base, &link))
}

/// `DELETE`: deletes the link, so that it can be restored for a while.
#[utoipa::path(
    delete,
    path = "/api/v1/links/{code}",
    tag = "Links",
    operation_id = "deleteLink",
    summary = "Delete a link",
    description = "It can be restored for a while.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("If-Match" = Option<String>, Header, description = "Only if the link is still what this `ETag` stands for"),
    ),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "There is no such link for this key"),
        (status = 412, description = "The link is not what `If-Match` says"),
    ),
)]
pub(super) async fn delete(
    request: Request<'_>,
    code: ShortCode,
) -> Result<HttpResponse, ApiError> {
    let only_if = only_if(request.context.headers());
    request.edit(code, only_if, Operation::Delete).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST …/restore`: restores a deleted link.
#[utoipa::path(
    post,
    path = "/api/v1/links/{code}/restore",
    tag = "Links",
    operation_id = "restoreLink",
    summary = "Restore a deleted link",
    description = "With all its codes, as it was.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("If-Match" = Option<String>, Header, description = "Only if the link is still what this `ETag` stands for"),
    ),
    responses(
        (
            status = 200,
            description = "The link as it is now",
            body = Link,
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (status = 404, description = "There is no such link for this key"),
        (status = 410, description = "It was deleted too long ago"),
        (status = 412, description = "The link is not what `If-Match` says"),
    ),
)]
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
