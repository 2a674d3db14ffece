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

use super::{Route, error::ApiError};

/// Nothing but the page's own style, and its form only to ourselves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html";

#[derive(Template, Default)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    error: Option<String>,
    shortened: Option<Shortened<'a>>,
    /// Whether the form is shown. It is sent to `shorten` beside the page, so that it also works behind a proxy that
    /// serves this under a path of its own.
    form: bool,
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
        form: true,
        ..Page::default()
    };
    page.answer(HttpResponse::Ok())
}

/// The short link, and the form for another.
pub(super) fn shortened_page(short_url: &str, target: &str) -> HttpResponse {
    let page = Page {
        title: "Your short link",
        shortened: Some(Shortened { short_url, target }),
        form: true,
        ..Page::default()
    };
    page.answer(HttpResponse::Ok())
}

/// The form, with what was typed and what is wrong with it.
pub(super) fn form_page_with_error(error: &ApiError, url: &str) -> HttpResponse {
    error_answer(error, true, url)
}

/// An error, and the form unless the page is somewhere where no form could be.
pub(super) fn error_page(error: &ApiError, route: Route) -> HttpResponse {
    error_answer(error, route != Route::Other, "")
}

fn error_answer(error: &ApiError, form: bool, url: &str) -> HttpResponse {
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
