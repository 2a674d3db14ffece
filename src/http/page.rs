//! The small page that a browser gets. It works without JavaScript.

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType, HeaderMap},
    },
};
use askama::Template;

use super::{Route, error::ApiError};

/// Nothing but the page's own style, and its form only to ourselves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

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

/// Whether the client asks for a page: browsers do, scripts do not.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).any(|accept| {
        let accept = accept.as_bytes();
        accept.windows(9).any(|part| part == b"text/html")
    })
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
