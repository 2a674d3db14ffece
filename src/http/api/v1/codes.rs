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

use super::Request;
use crate::{
    http::{
        api::{
            conditions::{entity_tag, only_if},
            representation::{base, represent},
        },
        fields::{Member, flag, given, malformed, read_members, shortened, text, unacceptable},
        page,
        problem::{ApiError, json_line},
    },
    links::{Alias, Operation, ShortCode},
};

#[derive(Serialize)]
struct Codes<'a> {
    code: &'a str,
    further_codes: Vec<&'a str>,
}

/// `GET`: the codes of a link.
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
pub(super) async fn add(
    request: Request<'_>,
    code: ShortCode,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let operation = read_members(context, payload, state.request_timeout, read).await?;
    let base = base(state, context)?;
    let only_if = only_if(context.headers());
    let link = request.edit(code, only_if, operation).await?;
    Ok(represent(StatusCode::OK, &base, &link))
}

/// `DELETE …/{other}`: takes a further code away. It leads nowhere then, and is free.
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

/// What the fields ask for.
fn read(members: &mut dyn Iterator<Item = Member>) -> Result<Operation, ApiError> {
    let (mut code, mut main) = (None, None);
    for (name, value) in members {
        let (field, value) = match name.as_str() {
            "code" => (&mut code, text(&name, value)?),
            "main" => (&mut main, flag(&name, value)?),
            _ => return Err(malformed(format!("Unknown field `{}`", shortened(&name)))),
        };
        if let Some(value) = value
            && field.replace(value).is_some()
        {
            return Err(malformed(format!("The field `{name}` is repeated")));
        }
    }
    let code = given(code).ok_or_else(|| malformed("The field `code` is missing"))?;
    let alias = Alias::parse(&code).map_err(|error| unacceptable("code", error))?;
    Ok(if main.as_deref() == Some("true") {
        Operation::Rename(alias)
    } else {
        Operation::AddCode(alias)
    })
}
