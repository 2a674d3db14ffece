//! The API key that a request presents: in `Authorization` or in `X-Api-Key`, never in its URL.

use std::borrow::Cow;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use memchr::memmem;

use crate::keys::ApiKey;

/// What a key begins with.
const PREFIX: &[u8] = b"shunt_";

/// So many letters and digits behind [`PREFIX`] are no user's name.
const LOOKS_LIKE_A_KEY: usize = 20;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A path up to a segment that looks like a key, so that no log has the key of somebody who has taken it for the name of
/// one.
pub(in crate::http) fn without_key(path: &str) -> Cow<'_, str> {
    let mut end = 0;
    for segment in path.split('/') {
        let behind = ["shunt_", "shunt%5F", "shunt%5f"]
            .iter()
            .find_map(|prefix| segment.strip_prefix(prefix));
        let digits = behind.map(|text| text.bytes().take_while(u8::is_ascii_alphanumeric));
        if digits.is_some_and(|digits| digits.count() >= LOOKS_LIKE_A_KEY) {
            return format!("{}shunt_...", &path[..end]).into();
        }
        end += segment.len() + 1;
    }
    path.into()
}

/// What a request presents as its key.
#[derive(Debug)]
pub(in crate::http) enum Credential {
    /// A text that has the form of a key.
    Key(ApiKey),
    /// Something that no store has to be asked about. The request must not pass for one without a key.
    Invalid,
}

/// The request cannot have a valid key.
#[derive(Debug)]
struct Invalid;

impl Credential {
    /// What a request with these headers presents; `None` if nothing.
    ///
    /// Invalid is a text that is no key, a header with a key that occurs twice, and two headers with different keys. So
    /// is a key behind another scheme than `Bearer`, or behind none: its owner believes that it is sent. Other values of
    /// `Authorization`, such as `Basic …`, are for a proxy in front, and say nothing to this service.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Option<Self> {
        let presented = match (bearer(headers), x_api_key(headers)) {
            (Ok(None), Ok(None)) => return None,
            (Ok(Some(one)), Ok(Some(other))) if one != other => None,
            (Ok(one), Ok(other)) => one.or(other),
            (Err(Invalid), _) | (_, Err(Invalid)) => None,
        };
        let key = presented.and_then(parse);
        Some(key.map_or(Self::Invalid, Self::Key))
    }
}

/// What stands behind `Bearer` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Invalid> {
    let (mut key, mut lines) = (None, 0);
    for line in headers.get_all(AUTHORIZATION) {
        key = key_of_line(line.as_bytes())?.or(key);
        lines += 1;
    }
    // Of several lines, nothing says which one holds.
    let is_invalid = key.is_some() && lines > 1;
    if is_invalid { Err(Invalid) } else { Ok(key) }
}

/// The key of one line of `Authorization`; `None` if the line is about something else.
fn key_of_line(line: &[u8]) -> Result<Option<&[u8]>, Invalid> {
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric());
    let (scheme, rest) = line.split_at(end.unwrap_or(line.len()));
    if scheme.eq_ignore_ascii_case(b"bearer") {
        let key = rest.strip_prefix(b" ").ok_or(Invalid)?;
        return Ok(Some(key.trim_ascii_start()));
    }
    if mentions_key(line) {
        Err(Invalid)
    } else {
        Ok(None)
    }
}

/// Whether something in a line looks like a key: `Token shunt_…`, `token="shunt_…"`, or one with a typing error.
fn mentions_key(line: &[u8]) -> bool {
    let mut after = memmem::find_iter(line, PREFIX).map(|at| &line[at + PREFIX.len()..]);
    after.any(|text| {
        let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric());
        length.count() >= LOOKS_LIKE_A_KEY
    })
}

fn x_api_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Invalid> {
    let mut lines = headers.get_all(X_API_KEY);
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line.map(|line| line.as_bytes())),
        (_, Some(_)) => Err(Invalid),
    }
}

fn parse(text: &[u8]) -> Option<ApiKey> {
    ApiKey::parse(str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// What a request presents, in a word.
    fn presented(lines: &[(&'static str, &str)]) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
            headers.append(HeaderName::from_static(name), value);
        }
        match Credential::of(&headers) {
            None => "nothing",
            Some(Credential::Key(_)) => "a key",
            Some(Credential::Invalid) => "something invalid",
        }
    }

    fn key() -> String {
        ApiKey::generate().secret().to_owned()
    }

    #[test]
    fn a_path_is_logged_without_a_key() {
        let key = key();
        let encoded = key.replace('_', "%5f");
        for name in [&key, &encoded, &key[..26], &format!("{key}x")] {
            let path = format!("/api/v1/keys/{name}/rotate");
            assert_eq!(without_key(&path), "/api/v1/keys/shunt_...", "{name}");
        }
        for path in [
            "",
            "/",
            "/api/v1/keys/phone",
            "/shunt_documentation",
            "/a//b/",
        ] {
            assert_eq!(without_key(path), path);
        }
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        let key = key();
        for value in [
            format!("Bearer {key}"),
            format!("bearer {key}"),
            format!("BEARER   {key}"),
        ] {
            let lines = [("authorization", &*value), ("x-api-key", &*key)];
            assert_eq!(presented(&lines[..1]), "a key", "{value}");
            assert_eq!(presented(&lines[1..]), "a key");
            assert_eq!(presented(&lines), "a key", "the same key twice");
        }
    }

    #[test]
    fn other_schemes_present_nothing() {
        let key = key();
        for value in [
            "",
            "Basic dXNlcjpwYXNzd29yZA==",
            "Digest username=\"shunt_anna\", realm=\"shunt\"",
            "Bearerish x",
            "Negotiate",
            "Basic \u{e4}",
            "\u{e4}",
        ] {
            let authorization = ("authorization", value);
            assert_eq!(presented(&[authorization]), "nothing", "{value}");
            let twice = [authorization, authorization];
            assert_eq!(presented(&twice), "nothing", "{value}");
            let with_key = [authorization, ("x-api-key", &*key)];
            assert_eq!(presented(&with_key), "a key", "{value}");
        }
        assert_eq!(presented(&[]), "nothing");
    }

    #[test]
    fn what_cannot_be_a_key_is_never_nothing() {
        let (key, other) = (key(), key());
        let mut mistyped = key.clone();
        mistyped.pop();
        let (bearer, token) = (format!("Bearer {key}"), format!("Token {key}"));
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Bearer \u{e4}",
            &format!("Bearer\t{key}"),
            &format!("Bearer:{key}"),
            &format!("Bearer {key},Bearer {key}"),
            &format!("Bearer {mistyped}"),
            &format!("Bearer {}", key.repeat(1000)),
            &key,
            &token,
            &mistyped,
            &format!("Token {mistyped}"),
            &format!("Token\t{key}"),
            &format!("Token token=\"{key}\""),
            &format!("Bearer{key}"),
            &format!("ApiKey {key},"),
        ] {
            let authorization = ("authorization", value);
            assert_eq!(presented(&[authorization]), "something invalid", "{value}");
            let with_key = [authorization, ("x-api-key", &*key)];
            assert_eq!(presented(&with_key), "something invalid", "{value}");
        }
        for value in ["", "x", "\u{e4}", &mistyped, &bearer, &key.repeat(1000)] {
            let own = ("x-api-key", value);
            assert_eq!(presented(&[own]), "something invalid", "{value}");
            let with_key = [own, ("authorization", &*bearer)];
            assert_eq!(presented(&with_key), "something invalid", "{value}");
        }
        let basic = ("authorization", "Basic dXNlcjpwYXNzd29yZA==");
        let bearer = ("authorization", &*bearer);
        for lines in [
            [bearer, bearer],
            [bearer, basic],
            [basic, bearer],
            [bearer, ("x-api-key", &*other)],
            [("x-api-key", &*key), ("x-api-key", &*key)],
        ] {
            assert_eq!(presented(&lines), "something invalid", "{lines:?}");
        }
    }
}
