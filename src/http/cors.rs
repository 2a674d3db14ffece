//! Pages of other sites (CORS): which of them may shorten links and read the answers.
//!
//! Own code, as `actix-cors` is a middleware: it would stand around every request, redirects included, where this is
//! about one route. The protocol is that of <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use std::{fmt, str::FromStr};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};
use url::Url;

use super::error::ApiError;

/// What a script may read besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id",
);

/// Two hours, in seconds: browsers remember a preflight no longer, and an operator's change is felt within the day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The pages that may shorten links and read the answers: at least one.
#[derive(Clone, Debug)]
pub struct Cors(Vec<CorsOrigin>);

/// An origin whose pages may, such as `https://app.example`; `*`: those of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Every page.
    Any,
    /// As browsers write it: lower case, without a default port.
    One(String),
}

/// A text that is no origin.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "that is no origin; write it as https://app.example or https://app.example:8443, or * for every page"
)]
pub struct InvalidOrigin;

impl Cors {
    /// For pages of `origins`; `None` if there are none.
    pub fn new(origins: Vec<CorsOrigin>) -> Option<Self> {
        (!origins.is_empty()).then_some(Self(origins))
    }

    /// The answer to a preflight, by which a browser asks whether a page may shorten; `None` if the request is
    /// something else.
    pub(super) fn preflight(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        if self.allowed(headers).is_none() {
            return Some(ApiError::MethodNotAllowed { allow: "POST" }.answer(request));
        }
        let answer = HttpResponse::NoContent()
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "POST"))
            .insert_header((
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Content-Type, X-Request-Id",
            ))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
            .finish();
        Some(answer)
    }

    /// Lets the page that a request came from read the answer, if it may. Cookies and passwords are never asked for.
    pub(super) fn add(&self, request: &HttpRequest, answer: &mut HeaderMap) {
        if !self.0.contains(&CorsOrigin::Any) {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.allowed(request.headers()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// What `Access-Control-Allow-Origin` says to the page that a request came from.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut lines = headers.get_all(header::ORIGIN);
        let (Some(origin), None) = (lines.next(), lines.next()) else {
            return None;
        };
        if self.0.contains(&CorsOrigin::Any) {
            return Some(HeaderValue::from_static("*"));
        }
        let is_origin = |one: &CorsOrigin| matches!(one, CorsOrigin::One(one) if origin == one);
        self.0.iter().any(is_origin).then(|| origin.clone())
    }
}

impl FromStr for CorsOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let url = Url::parse(text).map_err(|_| InvalidOrigin)?;
        // `https://*.app.example` would match no page.
        let plain = !text.contains('*')
            && matches!(url.path(), "" | "/")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(InvalidOrigin);
        }
        // An extension's origin (`moz-extension://…`) has no meaning to the parser, and is written as it is.
        Ok(Self::One(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::One(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, written) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443/", "https://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[2001:DB8::1]:80", "http://[2001:db8::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("moz-extension://0a-1b", "moz-extension://0a-1b"),
            ("chrome-extension://abcdef/", "chrome-extension://abcdef"),
            ("*", "*"),
        ] {
            let origin: CorsOrigin = text.parse().expect(text);
            assert_eq!(origin.to_string(), written);
        }
        for text in [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/path",
            "https://app.example?",
            "https://app.example#x",
            "https://me@app.example",
            "https://*.app.example/",
            "file:///",
            "mailto:a@example.com",
        ] {
            assert_eq!(text.parse::<CorsOrigin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
