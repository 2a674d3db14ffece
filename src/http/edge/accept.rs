//! Whether a client asks for a page.

use actix_web::http::header::{
    self, HeaderMap, HeaderValue, Quality, QualityItem, from_comma_delimited,
};
use mime::Mime;

const HTML: &str = "text/html";

/// Whether `Accept` asks for a page. Browsers do, scripts do not: the client names `text/html`, and likes it at least
/// as much as the kinds of JSON that it names. `*/*` is what scripts say.
pub(super) fn asks_for_page(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT);
    let names_html = |line: &HeaderValue| {
        let mut parts = line.as_bytes().windows(HTML.len());
        parts.any(|part| part.eq_ignore_ascii_case(HTML.as_bytes()))
    };
    // So the headers of most clients that are no browser need no parsing.
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
