//! The small page that a browser gets. It works without JavaScript.

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{
            self, ContentType, HeaderMap, HeaderValue, Quality, QualityItem, from_comma_delimited,
        },
    },
};
use askama::Template;
use mime::Mime;

use super::problem::ApiError;

/// Nothing but the page's own style, and its form only to ourselves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html";

#[derive(Template, Default)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    error: Option<String>,
    note: Option<&'a str>,
    shortened: Option<Shortened<'a>>,
    /// Where the form is sent, if it is shown; see [`form_action`](super::edge::form_action).
    form: Option<&'static str>,
    /// What stands in the form's field.
    url: &'a str,
}

struct Shortened<'a> {
    short_url: &'a str,
    target: &'a str,
}

/// Whether the client asks for a page: browsers do, scripts do not. It names `text/html`, and likes it no less than the
/// kinds of JSON that it names. `*/*` is what scripts say.
///
/// An answer that depends on this says `Vary: Accept`.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT);
    let names_html = |line: &HeaderValue| {
        let mut parts = line.as_bytes().windows(HTML.len());
        parts.any(|part| part.eq_ignore_ascii_case(HTML.as_bytes()))
    };
    // Most of those that are no browser need no parsing.
    if !lines().any(names_html) {
        return false;
    }
    let Ok(accepted) = from_comma_delimited::<_, QualityItem<Mime>>(lines()) else {
        return false;
    };
    let quality = |names: &[&str]| {
        let named = accepted
            .iter()
            .filter(|a| names.contains(&a.item.essence_str()));
        named.map(|accepted| accepted.quality).max()
    };
    let html = quality(&[HTML]);
    html > Some(Quality::ZERO) && html >= quality(&["application/json", "application/problem+json"])
}

/// The form.
pub(super) fn form_page() -> HttpResponse {
    let page = Page {
        title: "Shorten a link",
        form: Some("shorten"),
        ..Page::default()
    };
    page.answer(not_to_be_served_again())
}

/// The short link, and the form for another.
pub(super) fn shortened_page(
    short_url: &str,
    target: &str,
    form: Option<&'static str>,
) -> HttpResponse {
    let page = Page {
        title: "Your short link",
        shortened: Some(Shortened { short_url, target }),
        form,
        ..Page::default()
    };
    page.answer(not_to_be_served_again())
}

/// What is shown of a link that leads only those who follow it to its target.
pub(super) fn onlooker_page() -> HttpResponse {
    let page = Page {
        title: "A link",
        note: Some("This link opens in a browser. A preview is not told where it leads."),
        ..Page::default()
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    page.answer(response)
}

/// 200 for what a cache must not answer others with: the headers are about this client's quota. Back in its history a
/// browser may still show it.
pub(super) fn not_to_be_served_again() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    response
}

/// The form, with what was typed and what is wrong with it.
pub(super) fn form_page_with_error(
    error: &ApiError,
    url: &str,
    form: Option<&'static str>,
) -> HttpResponse {
    error_answer(error, form, url)
}

/// An error, and the form unless the page is somewhere where no form could be.
pub(super) fn error_page(error: &ApiError, form: Option<&'static str>) -> HttpResponse {
    error_answer(error, form, "")
}

fn error_answer(error: &ApiError, form: Option<&'static str>, url: &str) -> HttpResponse {
    let status = error.status_code();
    let page = Page {
        title: status.canonical_reason().unwrap_or("Error"),
        error: Some(error.to_string()),
        form,
        url,
        ..Page::default()
    };
    let mut response = HttpResponse::build(status);
    error.add_headers(&mut response);
    page.answer(response)
}

impl Page<'_> {
    fn answer(&self, mut response: HttpResponseBuilder) -> HttpResponse {
        let Ok(html) = self.render() else {
            return HttpResponse::new(StatusCode::SERVICE_UNAVAILABLE);
        };
        response
            .content_type(ContentType::html())
            .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((header::VARY, "Accept"))
            .body(html)
    }
}
