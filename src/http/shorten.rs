//! `POST /shorten`

mod form;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web::Payload,
};
use serde::Serialize;

use self::form::ShortenForm;
use super::{
    AppState,
    edge::{form_action, origin_for},
    page,
    problem::{ApiError, json_line},
};
use crate::links::{Alias, TargetUrl};

pub(super) use form::MAX_BODY;

#[derive(Serialize)]
struct Shortened<'a> {
    short_url: &'a str,
    code: &'a str,
    original_url: &'a str,
}

/// The short link as JSON, or on a page for a browser. When this answers 200 the link is committed.
pub(super) async fn shorten(
    state: &AppState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let form = ShortenForm::read(request, payload, state.request_timeout).await?;
    let html = page::is_wanted(request.headers());
    let action = form_action(request.path());
    let made = make_link(request, state, &form).await;
    match made {
        Ok((short_url, _, target)) if html => {
            Ok(page::shortened_page(&short_url, target.as_str(), action))
        }
        Ok((short_url, code, target)) => Ok(page::not_to_be_served_again()
            .content_type(ContentType::json())
            .insert_header((header::VARY, "Accept"))
            .body(json_line(&Shortened {
                short_url: &short_url,
                code: &code,
                original_url: target.as_str(),
            }))),
        Err(error) if html => Ok(page::form_page_with_error(&error, &form.url, action)),
        Err(error) => Err(error),
    }
}

async fn make_link(
    request: &HttpRequest,
    state: &AppState,
    form: &ShortenForm,
) -> Result<(String, String, TargetUrl), ApiError> {
    let target = TargetUrl::parse(&form.url, &state.schemes)?;
    let origin = origin_for(request, state, &target)?;
    let code = match &form.alias {
        Some(alias) => {
            let alias = Alias::parse(alias)?;
            state.links.shorten_as(alias, &target, form.terms).await?
        }
        None => state.links.shorten(&target, form.terms).await?,
    };
    Ok((origin.link(code.as_str()), code.to_string(), target))
}
