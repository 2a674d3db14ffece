//! What a path names: the page, shortening, a link, a file of the service, or nothing.
//!
//! Paths are matched kindly. A path means the same if unreserved characters are percent-encoded (RFC 3986, section
//! 6.2.2.2), and if it ends in a slash. Characters that chat programs and sentences add to the end of a link are no
//! part of its code.

use std::borrow::Cow;

use actix_web::http::Method;
use percent_encoding::percent_decode_str;

use crate::{http::assets::Asset, links::ShortCode, public::Route};

/// The longest path that is decoded, in bytes: more than the longest code with every character encoded and with all
/// that can be glued to it. Decoding comes before the limit, so its cost must be bounded.
const MAX_DECODED: usize = 512;

/// The longest text that can be glued to a code, in bytes, as the client has sent it.
const MAX_GLUED: usize = 64;

/// Characters that end a sentence, close a bracket or a quotation, or mark text up. Those of ASCII are the ones that
/// autolinkers leave out of a link (GitHub Flavored Markdown, 6.9), and closing brackets and quotation marks.
const GLUE: &str = concat!(
    ".,;:!?)]}>'\"*_~`",
    "”’“‘»«›‹„‚…–—",
    "。、，．；：！？）］｝」』》〉】〕",
    "،؛؟।॥",
    // Characters of no width: joiners, marks of direction, the byte-order mark.
    "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{2069}\u{202c}\u{feff}",
);

/// What a path names, for any method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Resource {
    /// `/`
    Home,
    /// `/shorten`
    Shorten,
    /// `/<code>`, even if no link could have that code.
    Link,
    /// `/<code>+`
    About,
    /// `/api/…`, whether or not there is anything at that path.
    Api,
    /// What a browser fetches by itself.
    Asset(Asset),
    /// None of these. Services behind actix-web's router may have the path.
    Nothing,
}

impl Resource {
    /// What a request's path names, as the client has sent it.
    pub(in crate::http) fn of_path(path: &str) -> Self {
        match path.strip_prefix('/') {
            Some("") => Self::Home,
            Some("shorten") => Self::Shorten,
            // Nearly every request.
            Some(code) if code.bytes().all(ShortCode::allows) => Self::Link,
            Some(rest) => Self::of_unusual(rest),
            None => Self::Nothing,
        }
    }

    #[cold]
    fn of_unusual(rest: &str) -> Self {
        let rest = &*normalised(rest);
        if rest == "shorten" {
            return Self::Shorten;
        }
        if rest.starts_with("api/") {
            return Self::Api;
        }
        if let Some(asset) = Asset::of_name(rest) {
            return Self::Asset(asset);
        }
        match rest.split_once('/') {
            None if plus_behind_code(rest).is_some() => Self::About,
            None => Self::Link,
            // One dot names the same folder, and is a full stop. Two dots would lead out of the folder.
            Some((_, "" | "..")) | Some(("", _)) => Self::Nothing,
            Some((_, glued)) if is_glued(glued) => Self::Link,
            Some(_) => Self::Nothing,
        }
    }

    /// The methods that it has; none if it is [`Nothing`](Self::Nothing).
    pub(in crate::http) fn methods(self) -> &'static [Method] {
        self.own_route().methods()
    }

    /// The route of a request with this method.
    pub(in crate::http) fn route(self, method: &Method) -> Route {
        let route = self.own_route();
        if route.methods().contains(method) {
            route
        } else {
            Route::Other
        }
    }

    /// The route of a request with a method that it has.
    fn own_route(self) -> Route {
        match self {
            Self::Home => Route::Home,
            Self::Shorten => Route::Shorten,
            Self::Link | Self::About => Route::Follow,
            Self::Api => Route::Api,
            Self::Asset(_) => Route::Asset,
            Self::Nothing => Route::Other,
        }
    }
}

/// The code that the path of a [`Resource::Link`] means; `None` if no link could have it.
pub(in crate::http) fn code(path: &str) -> Option<ShortCode> {
    let rest = path.strip_prefix('/')?;
    ShortCode::parse(rest).or_else(|| unusual_code(rest))
}

#[cold]
fn unusual_code(rest: &str) -> Option<ShortCode> {
    let rest = normalised(rest);
    let end = rest.bytes().position(|byte| !ShortCode::allows(byte));
    let (code, glued) = rest.split_at(end.unwrap_or(rest.len()));
    let glued = glued.strip_prefix('/').unwrap_or(glued);
    if is_glued(glued) {
        ShortCode::parse(code)
    } else {
        None
    }
}

/// The code that the path of a [`Resource::About`] is about.
pub(in crate::http) fn code_asked_about(path: &str) -> Option<ShortCode> {
    plus_behind_code(&normalised(path.strip_prefix('/')?))
}

/// The code, if a `+` stands behind it, which may be encoded: no code has one. Chat programs may have added something
/// behind that.
fn plus_behind_code(rest: &str) -> Option<ShortCode> {
    let end = rest.bytes().position(|byte| !ShortCode::allows(byte))?;
    let (code, behind) = rest.split_at(end);
    let glued = ["+", "%2B", "%2b"]
        .iter()
        .find_map(|plus| behind.strip_prefix(plus))?;
    is_glued(glued).then(|| ShortCode::parse(code)).flatten()
}

/// What stands between the slashes of a [`Resource::Api`] path, below `/api/`.
pub(in crate::http) fn segments_below_api(path: &str) -> Vec<String> {
    let rest = normalised(path.strip_prefix('/').unwrap_or(path));
    rest.split('/').skip(1).map(str::to_owned).collect()
}

/// A [`Resource::Api`] path without a slash at its end, and with no more percent-encoding than it needs.
pub(super) fn normalised_api_path(path: &str) -> String {
    format!("/{}", normalised(path.strip_prefix('/').unwrap_or(path)))
}

/// A path (without its first slash) without a slash at its end, and with no more percent-encoding than it needs.
/// Nothing is decoded twice, and `%2F` does not become a slash.
fn normalised(rest: &str) -> Cow<'_, str> {
    let rest = match rest.strip_suffix('/') {
        // An empty segment makes another path: `//` is not `/`, and `/a//` is not `/a/`.
        Some(before) if !before.is_empty() => before,
        _ => rest,
    };
    if rest.len() > MAX_DECODED || !rest.contains('%') {
        return Cow::Borrowed(rest);
    }
    let mut decoded = String::with_capacity(rest.len());
    let mut parts = rest.split('%');
    decoded.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            // This is not percent-encoding. Decoding the rest could make one of it.
            return Cow::Borrowed(rest);
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            decoded.push(char::from(byte));
            decoded.push_str(&part[2..]);
        } else {
            decoded.push('%');
            decoded.push_str(part);
        }
    }
    Cow::Owned(decoded)
}

/// Whether this text behind a code was added by accident: only spaces and [`GLUE`].
fn is_glued(text: &str) -> bool {
    if text.len() > MAX_GLUED {
        return false;
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.is_ok_and(|text| text.chars().all(|c| c.is_whitespace() || GLUE.contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_thing() {
        for (path, resource) in [
            ("/", Resource::Home),
            ("/shorten", Resource::Shorten),
            ("/shorten/", Resource::Shorten),
            ("/%73horten", Resource::Shorten),
            ("/Ab3xY9", Resource::Link),
            ("/shortened", Resource::Link),
            ("/shorten.", Resource::Link),
            ("/launch/).", Resource::Link),
            ("/%2F", Resource::Link),
            ("/launch+", Resource::About),
            ("/launch%2B", Resource::About),
            ("/launch%2b/", Resource::About),
            ("/%6Caunch+).", Resource::About),
            // Codes that no link has.
            ("/+", Resource::Link),
            ("/launch++", Resource::Link),
            ("/launch+x", Resource::Link),
            ("/launch%252B", Resource::Link),
            ("/api/v1/links", Resource::Api),
            ("/%61pi/v1/links/", Resource::Api),
            ("/api/.", Resource::Api),
            // A code that no link has.
            ("/api", Resource::Link),
            ("/api/", Resource::Link),
            ("/apis/v1", Resource::Nothing),
            ("/favicon.ico", Resource::Asset(Asset::Favicon)),
            ("/a/b", Resource::Nothing),
            ("//", Resource::Nothing),
            ("///", Resource::Nothing),
            ("//launch", Resource::Nothing),
            ("/launch//", Resource::Nothing),
            ("/launch/..", Resource::Nothing),
            ("*", Resource::Nothing),
            ("", Resource::Nothing),
        ] {
            assert_eq!(Resource::of_path(path), resource, "{path}");
        }
    }

    #[test]
    fn a_request_has_one_route() {
        for (method, path, route) in [
            (Method::GET, "/", Route::Home),
            (Method::HEAD, "/", Route::Home),
            (Method::POST, "/", Route::Other),
            (Method::POST, "/shorten", Route::Shorten),
            (Method::GET, "/shorten", Route::Other),
            (Method::OPTIONS, "/shorten", Route::Other),
            (Method::GET, "/Ab3xY9", Route::Follow),
            (Method::HEAD, "/Ab3xY9", Route::Follow),
            (Method::POST, "/Ab3xY9", Route::Other),
            (Method::GET, "/Ab3xY9+", Route::Follow),
            (Method::POST, "/Ab3xY9+", Route::Other),
            (Method::GET, "/robots.txt", Route::Asset),
            (Method::POST, "/robots.txt", Route::Other),
            (Method::PATCH, "/api/v1/links/x", Route::Api),
            (Method::GET, "/api/anything", Route::Api),
            (Method::PUT, "/api/v1/links", Route::Other),
            (Method::GET, "/a/b", Route::Other),
        ] {
            let resource = Resource::of_path(path);
            assert_eq!(resource.route(&method), route, "{method} {path}");
        }
    }

    #[test]
    fn every_path_in_the_table_of_routes_leads_to_its_route() {
        for route in Route::ALL {
            for path in route.paths() {
                let path = path
                    .replace("{code}", "Ab3xY9")
                    .replace("{size}", "-120x120");
                let resource = Resource::of_path(&path.replace("{name}", "security.txt"));
                assert_eq!(resource.own_route(), route, "{path}");
                for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
                    let has_it = resource.methods().contains(&method);
                    let expected = if has_it { route } else { Route::Other };
                    assert_eq!(resource.route(&method), expected, "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn only_what_needs_no_encoding_is_decoded_and_only_once() {
        for (rest, expected) in [
            ("launch", "launch"),
            ("%6C%61u%6e%63h/", "launch"),
            ("%2D%2E%5F%7E%30", "-._~0"),
            ("%2f%2F%25%20%C3%BC", "%2f%2F%25%20%C3%BC"),
            ("%256C", "%256C"),
            ("%", "%"),
            ("%4", "%4"),
            ("%4ü", "%4ü"),
            ("%+1", "%+1"),
            ("%%36C", "%%36C"),
            ("%41%zz%41", "%41%zz%41"),
            ("/", "/"),
            ("a//", "a/"),
        ] {
            assert_eq!(normalised(rest), expected, "{rest}");
        }
        let longest = "%61".repeat(64);
        assert_eq!(normalised(&longest), "a".repeat(64));
        let longer = "%61".repeat(10_000);
        assert_eq!(normalised(&longer), longer);
    }
}
