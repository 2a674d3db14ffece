//! `GET /`

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType},
};

use super::{edge::RequestContext, page};

/// The page for a browser, one line of text for any other client.
pub(super) fn home(context: &RequestContext) -> HttpResponse {
    if context.wants_page() {
        page::form_page()
    } else {
        page::not_to_be_served_again()
            .content_type(ContentType::plaintext())
            .insert_header((header::VARY, "Accept"))
            .body("URL Shortener is running!\n")
    }
}
