//! `GET /<code>+`: what a link is, for somebody who wants to know before following it.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType},
};
use serde::Serialize;

use super::{
    AppState,
    api::timestamp,
    edge::{RequestContext, code_asked_about},
    nowhere::find,
    page::{self, AboutPage, NO_INDEX},
    problem::{ApiError, json_line},
    shorten::own_url,
};
use crate::links::{About, ShortCode};

#[derive(Serialize)]
struct Shown<'a> {
    code: &'a str,
    short_url: &'a str,
    title: Option<&'a str>,
    created_at: Option<String>,
    works: bool,
    needs_password: bool,
    counts_visits: bool,
    /// `null` if a request would not be led there now, without a password and without a counted visit.
    url: Option<&'a str>,
}

/// Answers with what everybody may know of a link: on a page for a browser, as JSON for any other client. With 200 also
/// if the link no longer works: this is what the client wanted to know.
pub(super) async fn about(
    state: &AppState,
    context: &RequestContext,
) -> Result<HttpResponse, ApiError> {
    let code = code_asked_about(context.path()).ok_or(ApiError::NotFound)?;
    let ask = async |code: &ShortCode| state.links.about(code).await;
    let (code, about) = find(code, ask, Option::is_none).await?;
    let about = about.ok_or(ApiError::NotFound)?;
    let base = own_url(state, context.origin()?)?;
    let short_url = base.link(code.as_str());
    let mut response = HttpResponse::Ok();
    // The link may change in a moment, and the headers are about this client's quota.
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if context.wants_page() {
        let made = made(&about);
        return Ok(page::about_page(
            response,
            &AboutPage {
                title: about.title.as_deref().unwrap_or("About this link"),
                short_url: &short_url,
                target: about.target.as_deref(),
                works: about.works,
                needs_password: about.needs_password,
                made: &made,
            },
        ));
    }
    Ok(response
        .content_type(ContentType::json())
        .insert_header((header::VARY, "Accept"))
        .insert_header(NO_INDEX)
        .body(json_line(&Shown {
            code: code.as_str(),
            short_url: &short_url,
            title: about.title.as_deref(),
            created_at: timestamp(Some(about.created_at)),
            works: about.works,
            needs_password: about.needs_password,
            counts_visits: about.counts_visits,
            url: about.target.as_deref(),
        })))
}

/// `2026-11-28, 3 days ago`
fn made(about: &About) -> String {
    let time = timestamp(Some(about.created_at)).unwrap_or_default();
    let day = time.split('T').next().unwrap_or_default();
    format!("{day}, {} ago", in_words(about.age))
}

/// A duration in its largest unit, rounded down.
fn in_words(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    let (number, unit) = match minutes {
        0 => return "less than a minute".to_owned(),
        1..60 => (minutes, "minute"),
        60..1_440 => (minutes / 60, "hour"),
        1_440..525_600 => (minutes / 1_440, "day"),
        _ => (minutes / 525_600, "year"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_its_largest_unit() {
        let day = 86_400;
        for (seconds, words) in [
            (0, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 minute"),
            (3_599, "59 minutes"),
            (3_600, "1 hour"),
            (day - 1, "23 hours"),
            (day, "1 day"),
            (364 * day, "364 days"),
            (365 * day, "1 year"),
            (3_000 * day, "8 years"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }
}
