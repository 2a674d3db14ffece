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
use utoipa::ToSchema;

pub(super) use self::{
    form::ShortenForm,
    own_address::{base_url, own_url},
};

use super::{
    AppState,
    authenticate::{authorize, confirm, editor},
    edge::{RequestContext, discard_body},
    fields::{fallback_url, unacceptable},
    page::{self, form_action},
    problem::{ApiError, json_line},
    rate_limit::client_name,
    refuse::refuse_form,
};
use crate::{
    keys::Scope,
    links::{Alias, LinkOptions, Made, TargetUrl, Wanted, WantedCode},
    public::PublicUrl,
};

/// A short link.
#[derive(Serialize, ToSchema)]
struct Shortened<'a> {
    /// What to share.
    #[schema(format = "url", example = "https://sho.rt/9hYVvW")]
    short_url: &'a str,
    /// Its code.
    #[schema(example = "9hYVvW")]
    code: &'a str,
    /// Where it leads.
    #[schema(format = "url", example = "https://example.com/a/long/path")]
    original_url: &'a str,
}

/// Answers with the short link: on a page for a browser, as JSON for any other client. When the status is 200, the link
/// is committed.
#[utoipa::path(
    post,
    path = "/shorten",
    tag = "Shorten",
    operation_id = "shorten",
    summary = "Shorten a URL",
    description = "With a key, which must have the scope `create`, the link belongs to the owner of the key. \
        Without options, the same URL gets the same code again. A client that prefers HTML gets a page.",
    request_body(content(
        (ref("#/components/schemas/NewLink") = "application/json"),
        (ref("#/components/schemas/NewLinkForm") = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "The short link. It is stored", content(
            (Shortened = "application/json"),
            (String = "text/html"),
        )),
        (status = 409, description = "Another link has that alias"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    )
)]
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
    let (base, wanted) = wanted_link(state, context, form).await?;
    confirm(state, context).await?;
    let target = wanted.target.clone();
    let made = state.links.shorten(wanted).await?;
    Ok((base, target, made))
}

/// The link that the form asks for, once all of it is checked. Returns what its short URL begins with, too.
pub(super) async fn wanted_link(
    state: &AppState,
    context: &RequestContext,
    form: &ShortenForm,
) -> Result<(PublicUrl, Wanted), ApiError> {
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
    let code = match (&form.alias, form.code_length) {
        (Some(alias), _) => WantedCode::Alias(Alias::parse(alias)?),
        (None, Some(length)) => WantedCode::OfLength(length),
        (None, None) => WantedCode::Any,
    };
    // After all else that can be wrong with the form, because it is work.
    let password = match &form.password {
        Some(password) => {
            let client = client_name(state.rate_limit.as_ref(), context);
            let hash = state.links.hash_password(&client, password.clone());
            Some(hash.await?)
        }
        None => None,
    };
    let wanted = Wanted {
        target,
        code,
        owner: context.key().map(|key| key.owner.clone()),
        terms: form.terms,
        options: LinkOptions {
            manner: form.manner,
            fallback,
            enabled: form.enabled,
            password,
            labels: form.labels.clone(),
        },
        // This ends the link that had the alias, as deleting it would.
        in_place_of: context
            .key()
            .filter(|key| key.scopes.allows(Scope::Manage))
            .map(|key| editor(key)),
    };
    Ok((base, wanted))
}
