//! Whether a client asks for a page.

use actix_web::http::header::{
    self, HeaderMap, HeaderValue, Quality, QualityItem, from_comma_delimited,
};
use mime::Mime;

const HTML: &str = "text/html";

/// Whether `Accept` asks for a page: it names `text/html`, and prefers none of the kinds of JSON that it names.
/// Browsers send this. Scripts send `*/*`.
pub(super) fn asks_for_page(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT);
    let names_html = |line: &HeaderValue| {
        let mut parts = line.as_bytes().windows(HTML.len());
        parts.any(|part| part.eq_ignore_ascii_case(HTML.as_bytes()))
    };
    // Most clients that are not browsers are decided here, without parsing.
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
