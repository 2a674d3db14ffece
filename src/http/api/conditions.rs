//! Requests that depend on what a link is: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1).
//!
//! The entity tag of a link is `"<version>.<visits>.<state>"`. `If-None-Match` compares all of it, so that a client that
//! asks again and again sees visits being counted, and a link expire. `If-Match` compares the version only: it protects
//! what people have changed, and a visit must not make their next change fail.
//!
//! Weak tags match as well. Proxies that compress answers make tags weak, and a version says exactly what the link is
//! made of, whatever the bytes of an answer are.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::links::{LinkRecord, Version};

/// The entity tag of a link, with its quotation marks.
pub(super) fn entity_tag(link: &LinkRecord) -> HeaderValue {
    let (version, visits, state) = (link.version(), link.visits, link.state.name());
    let tag = HeaderValue::from_str(&format!("\"{version}.{visits}.{state}\""));
    // Digits, letters, dots and underscores are always a valid value.
    tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The versions of which the link must be one, if the request makes a condition. None of them can be met if the client
/// has sent something else than tags of links.
pub(super) fn only_if(headers: &HeaderMap) -> Option<Vec<Version>> {
    let tags = tags(headers, &header::IF_MATCH)?;
    if tags.contains(&"*") {
        return None;
    }
    let version = |tag: &str| {
        let (version, _) = opaque(tag)?.split_once('.')?;
        Version::parse(version)
    };
    Some(tags.into_iter().filter_map(version).collect())
}

/// Whether the client says that it has the link as it is.
pub(super) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = tags(headers, &header::IF_NONE_MATCH).unwrap_or_default();
    let tag = tag.to_str().ok().and_then(opaque);
    known
        .into_iter()
        .any(|known| known == "*" || opaque(known).is_some_and(|known| Some(known) == tag))
}

/// What stands between the commas, on all lines with this name; `None` if there is no such line. The tags of links have
/// no commas.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Vec<&'a str>> {
    headers.get(name)?;
    let lines = headers.get_all(name).filter_map(|line| line.to_str().ok());
    Some(
        lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .collect(),
    )
}

/// What stands between the quotation marks.
fn opaque(tag: &str) -> Option<&str> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "00112233445566778899aabbccddeeff";

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes());
            headers.append(name.clone(), value.expect("a value"));
        }
        headers
    }

    #[test]
    fn if_match_names_versions_whatever_was_visited_since() {
        let version = Version::parse(VERSION).expect("a version");
        for (lines, versions) in [
            (&[][..], None),
            (&["*"], None),
            (
                &["\"00112233445566778899aabbccddeeff.7.active\""],
                Some(vec![version]),
            ),
            (
                &["\"x\" , W/\"00112233445566778899aabbccddeeff.0.used_up\""],
                Some(vec![version]),
            ),
            (
                &["\"x\"", "\"00112233445566778899aabbccddeeff.0.active\""],
                Some(vec![version]),
            ),
            (&[""], Some(vec![])),
            (&["\"\""], Some(vec![])),
            (&["00112233445566778899aabbccddeeff.7.active"], Some(vec![])),
            (&["\"00112233445566778899aabbccddeeff\""], Some(vec![])),
            (&["\u{fc}"], Some(vec![])),
        ] {
            let given = headers(header::IF_MATCH, lines);
            assert_eq!(only_if(&given), versions, "{lines:?}");
        }
    }

    #[test]
    fn if_none_match_means_the_whole_tag() {
        let tag = HeaderValue::from_static("\"00.7.active\"");
        for (lines, known) in [
            (&[][..], false),
            (&["*"], true),
            (&["\"00.7.active\""], true),
            (&["W/\"00.7.active\""], true),
            (&["\"a\",\"00.7.active\""], true),
            (&["\"00.8.active\""], false),
            (&["\"00.7.expired\""], false),
            (&["00.7.active"], false),
        ] {
            let given = headers(header::IF_NONE_MATCH, lines);
            assert_eq!(is_known(&given, &tag), known, "{lines:?}");
        }
    }
}
