//! The small pages for browsers. They work without JavaScript.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, ContentType, HeaderName, HeaderValue},
    },
};
use askama::Template;

/// The page may use its own style and nothing else, and may send its form only to this service.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same, but the form may lead to any site. Chrome and Safari apply `form-action` also to where the answer to a form
/// leads, and a password leads to the target of its link. The password itself goes no further: the answer is 303.
const CONTENT_SECURITY_POLICY_OF_PASSWORDS: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     base-uri 'none'; frame-ancestors 'none'";

/// No search engine lists the answer.
pub(super) const NO_INDEX: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-robots-tag"),
    HeaderValue::from_static("noindex"),
);

#[derive(Template, Default)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    error: Option<&'a str>,
    note: Option<&'a str>,
    shortened: Option<Shortened<'a>>,
    /// The URL for the form, if the page shows it; see [`form_action`].
    form: Option<&'static str>,
    /// The text in the form's field.
    url: &'a str,
}

struct Shortened<'a> {
    short_url: &'a str,
    target: &'a str,
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    title: &'a str,
    error: Option<&'a str>,
}

/// What everybody may know of a link.
#[derive(Template)]
#[template(path = "about.html")]
pub(super) struct AboutPage<'a> {
    /// The title of the link.
    pub(super) title: &'a str,
    pub(super) short_url: &'a str,
    pub(super) target: Option<&'a str>,
    pub(super) works: bool,
    pub(super) needs_password: bool,
    /// When, and how long ago.
    pub(super) made: &'a str,
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

/// The answer to a preview, for a link that leads only its visitors to the target.
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

/// The form that asks for the password of a link, perhaps again. It sends the password to the path of the page, with the
/// query of the page.
pub(super) fn password_page(
    mut response: HttpResponseBuilder,
    error: Option<&str>,
) -> HttpResponse {
    let page = PasswordPage {
        title: "This link needs a password",
        error,
    };
    response.insert_header(NO_INDEX);
    // So that a browser names the origin of the form, also one that does not say `Sec-Fetch-Site`.
    response.insert_header((header::REFERRER_POLICY, "same-origin"));
    answer(&page, response, CONTENT_SECURITY_POLICY_OF_PASSWORDS)
}

/// What a link is.
pub(super) fn about_page(mut response: HttpResponseBuilder, page: &AboutPage<'_>) -> HttpResponse {
    response.insert_header(NO_INDEX);
    answer(page, response, CONTENT_SECURITY_POLICY)
}

/// Begins an answer with 200 that a cache must not give to other clients, because its headers are about this client's
/// quota. A browser may still show it when its user goes back in the history.
pub(super) fn not_to_be_served_again() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    response
}

/// An error, with the form unless the page is at a path where no form can be. `url` stands in the form's field.
pub(super) fn error_page(
    response: HttpResponseBuilder,
    title: &str,
    error: &str,
    form: Option<&'static str>,
    url: &str,
) -> HttpResponse {
    let page = Page {
        title,
        error: Some(error),
        form,
        url,
        ..Page::default()
    };
    page.answer(response)
}

/// The URL for the form on a page at this path. It is relative to the page, so that it also works behind a proxy that
/// serves this service under a path of its own. `None` if the path does not say where the service begins.
pub(super) fn form_action(path: &str) -> Option<&'static str> {
    match path.strip_prefix('/')?.split_once('/') {
        None => Some("shorten"),
        Some((_, "")) => Some("../shorten"),
        Some(_) => None,
    }
}

impl Page<'_> {
    fn answer(&self, response: HttpResponseBuilder) -> HttpResponse {
        answer(self, response, CONTENT_SECURITY_POLICY)
    }
}

fn answer(page: &impl Template, mut response: HttpResponseBuilder, policy: &str) -> HttpResponse {
    let Ok(html) = page.render() else {
        return HttpResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    };
    let mut response = response
        .content_type(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::VARY, "Accept"))
        .body(html);
    // Unless the page has one of its own.
    let headers = response.headers_mut();
    if !headers.contains_key(header::REFERRER_POLICY) {
        let none = HeaderValue::from_static("no-referrer");
        headers.insert(header::REFERRER_POLICY, none);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::form_action;

    #[test]
    fn a_form_leads_to_the_same_place_from_every_page() {
        for (path, action) in [
            ("/", Some("shorten")),
            ("/abc", Some("shorten")),
            ("/abc%2F", Some("shorten")),
            ("/abc/", Some("../shorten")),
            ("//", Some("../shorten")),
            ("/a/b", None),
            ("*", None),
        ] {
            assert_eq!(form_action(path), action, "{path}");
        }
    }
}
