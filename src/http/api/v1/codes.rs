//! `/api/v1/links/{code}/codes`

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Request;
use crate::{
    http::{
        api::{
            conditions::{entity_tag, only_if},
            representation::{Link, base, represent},
        },
        fields::{fields, flag, given, malformed, read_members, text, unacceptable},
        page,
        problem::{ApiError, json_line},
    },
    links::{Alias, Operation, ShortCode},
};

/// The codes of a link.
#[derive(Serialize, ToSchema)]
struct Codes<'a> {
    /// Its main code.
    #[schema(example = "spring-launch")]
    code: &'a str,
    /// Codes that lead to the same.
    #[schema(example = json!(["launch"]))]
    further_codes: Vec<&'a str>,
}

/// `GET`: the codes of a link.
#[utoipa::path(
    get,
    path = "/api/v1/links/{code}/codes",
    tag = "Links",
    operation_id = "listCodes",
    summary = "List the codes of a link",
    description = "All of them lead to the same.",
    params(("code" = String, Path, description = "Any code of the link")),
    responses(
        (
            status = 200,
            description = "Its codes",
            body = Codes,
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (status = 404, description = "There is no such link for this key"),
    ),
)]
pub(super) async fn list(request: Request<'_>, code: ShortCode) -> Result<HttpResponse, ApiError> {
    let link = request.record(&code).await?;
    let codes = Codes {
        code: link.code.as_str(),
        further_codes: link.further_codes.iter().map(ShortCode::as_str).collect(),
    };
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .insert_header((header::ETAG, entity_tag(&link)))
        .body(json_line(&codes)))
}

/// `POST`: gives a link a further code, or with `main` another main code. Answers with the link.
#[utoipa::path(
    post,
    path = "/api/v1/links/{code}/codes",
    tag = "Links",
    operation_id = "addCode",
    summary = "Give a link another code",
    description = "With `main`, it gets another name, and the former one keeps working. A link has at most 50 further codes.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("If-Match" = Option<String>, Header, description = "Only if the link is still what this `ETag` stands for"),
    ),
    request_body(content(
        (ref("#/components/schemas/NewCode") = "application/json"),
        (ref("#/components/schemas/NewCodeForm") = "application/x-www-form-urlencoded"),
    )),
    responses(
        (
            status = 200,
            description = "The link as it is now",
            body = Link,
            headers(("ETag" = String, description = "Stands for what the link is")),
        ),
        (status = 404, description = "There is no such link for this key"),
        (status = 409, description = "Another link has that code, or the link is deleted"),
        (status = 412, description = "The link is not what `If-Match` says"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    ),
)]
pub(super) async fn add(
    request: Request<'_>,
    code: ShortCode,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let fields = read_members(context, payload, state.request_timeout, Fields::read).await?;
    let operation = fields.operation()?;
    request.confirm().await?;
    let base = base(state, context)?;
    let only_if = only_if(context.headers());
    let link = request.edit(code, only_if, operation).await?;
    Ok(represent(StatusCode::OK, &base, &link))
}

/// `DELETE …/{other}`: takes a further code away. It leads nowhere then, and is free.
#[utoipa::path(
    delete,
    path = "/api/v1/links/{code}/codes/{other}",
    tag = "Links",
    operation_id = "removeCode",
    summary = "Take a code away from a link",
    description = "It leads nowhere at once, and is free for any link.",
    params(
        ("code" = String, Path, description = "Any code of the link"),
        ("other" = String, Path, description = "The code to take away"),
        ("If-Match" = Option<String>, Header, description = "Only if the link is still what this `ETag` stands for"),
    ),
    responses(
        (status = 204, description = "It is taken away"),
        (status = 404, description = "There is no such link for this key, or the link has not that code"),
        (status = 409, description = "It is the main code of the link, or the link is deleted"),
        (status = 412, description = "The link is not what `If-Match` says"),
    ),
)]
pub(super) async fn remove(
    request: Request<'_>,
    code: ShortCode,
    other: ShortCode,
) -> Result<HttpResponse, ApiError> {
    let only_if = only_if(request.context.headers());
    let remove = Operation::RemoveCode(other);
    request.edit(code, only_if, remove).await?;
    Ok(HttpResponse::NoContent().finish())
}

fields!(code: text, main: flag);

/// The names of the fields that a `POST` can have.
pub(super) const FIELDS: &[&str] = Fields::NAMES;

impl Fields {
    /// What they ask for.
    fn operation(self) -> Result<Operation, ApiError> {
        let code = given(self.code).ok_or_else(|| malformed("The field `code` is missing"))?;
        let alias = Alias::parse(&code).map_err(|error| unacceptable("code", error))?;
        Ok(if self.main.as_deref() == Some("true") {
            Operation::Rename(alias)
        } else {
            Operation::AddCode(alias)
        })
    }
}
