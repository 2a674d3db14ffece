//! `GET /`

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
};

use super::page;

/// The page for a browser, one line of text for anything else.
pub(super) fn home(request: &HttpRequest) -> HttpResponse {
    if page::is_wanted(request.headers()) {
        page::form_page()
    } else {
        page::not_to_be_served_again()
            .content_type(ContentType::plaintext())
            .insert_header((header::VARY, "Accept"))
            .body("URL Shortener is running!\n")
    }
}
