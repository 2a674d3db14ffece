//! `POST /shorten`

mod form;
mod local_address;
mod own_address;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::header::{self, ContentType},
};
use serde::Serialize;

pub(super) use self::{
    form::ShortenForm,
    own_address::{base_url, own_url},
};

use super::{
    AppState,
    authenticate::{authorize, editor},
    edge::{RequestContext, discard_body},
    fields::{fallback_url, unacceptable},
    page::{self, form_action},
    problem::{ApiError, json_line},
    refuse::refuse_form,
};
use crate::{
    keys::Scope,
    links::{Alias, LinkOptions, Made, TargetUrl, Wanted, WantedCode},
    public::PublicUrl,
};

#[derive(Serialize)]
struct Shortened<'a> {
    short_url: &'a str,
    code: &'a str,
    original_url: &'a str,
}

/// Answers with the short link: on a page for a browser, as JSON for any other client. When the status is 200, the link
/// is committed.
pub(super) async fn shorten(
    state: &AppState,
    context: &RequestContext,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    if let Err(error) = authorize(context, Scope::Create, state.anonymous) {
        discard_body(context, payload).await;
        return Err(error);
    }
    let form = ShortenForm::read(context, payload, state.request_timeout).await?;
    let (base, target, code) = match make_link(state, context, &form).await {
        Ok((base, target, made)) => (base, target, made.code),
        Err(error) => return Ok(refuse_form(context, &error, &form.url)),
    };
    let short_url = base.link(code.as_str());
    if context.wants_page() {
        let form = form_action(context.path());
        return Ok(page::shortened_page(&short_url, target.as_str(), form));
    }
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .insert_header((header::VARY, "Accept"))
        .body(json_line(&Shortened {
            short_url: &short_url,
            code: code.as_str(),
            original_url: target.as_str(),
        })))
}

/// Makes the link that the form asks for. Returns what its short URL begins with, and its target.
pub(super) async fn make_link(
    state: &AppState,
    context: &RequestContext,
    form: &ShortenForm,
) -> Result<(PublicUrl, TargetUrl, Made), ApiError> {
    let target = TargetUrl::parse(&form.url, &state.schemes)?;
    let base = base_url(state, context.origin()?, &target)?;
    let fallback = match &form.fallback_url {
        Some(url) => {
            let fallback = fallback_url(url, &state.schemes)?;
            base_url(state, context.origin()?, &fallback).map_err(|error| match error {
                ApiError::Unacceptable(why) => unacceptable("fallback_url", why),
                error => error,
            })?;
            Some(fallback)
        }
        None => None,
    };
    let wanted = Wanted {
        target: target.clone(),
        code: match (&form.alias, form.code_length) {
            (Some(alias), _) => WantedCode::Alias(Alias::parse(alias)?),
            (None, Some(length)) => WantedCode::OfLength(length),
            (None, None) => WantedCode::Any,
        },
        owner: context.key().map(|key| key.owner.clone()),
        terms: form.terms,
        options: LinkOptions {
            manner: form.manner,
            fallback,
            enabled: form.enabled,
            labels: form.labels.clone(),
        },
        // This ends the link that had the alias, as deleting it would.
        in_place_of: context
            .key()
            .filter(|key| key.scopes.allows(Scope::Manage))
            .map(|key| editor(key)),
    };
    let made = state.links.shorten(wanted).await?;
    Ok((base, target, made))
}
