//! `GET /`

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType},
};

use super::{AppState, edge::RequestContext, nowhere::lead_to, page};

/// Leads to `links.home_url`. Without it: the page for a browser, one line of text for any other client.
pub(super) fn home(state: &AppState, context: &RequestContext) -> HttpResponse {
    if let Some(url) = &state.home_url {
        return lead_to(url);
    }
    if context.wants_page() {
        page::form_page()
    } else {
        page::not_to_be_served_again()
            .content_type(ContentType::plaintext())
            .insert_header((header::VARY, "Accept"))
            .body("URL Shortener is running!\n")
    }
}
