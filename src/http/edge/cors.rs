//! Which pages of other sites may shorten links, use the API and read the answers (CORS).
//!
//! This is not `actix-cors`, because that is a middleware: it would stand around every request, redirects included,
//! although CORS concerns two routes. The protocol is <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use actix_web::{
    HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};

use super::RequestContext;
use crate::{
    http::problem::ApiError,
    public::{CorsOrigin, list_of_methods},
};

/// The headers that a script of such a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Accept-Encoding, Allow, ETag, Link, Location, RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id, WWW-Authenticate",
);

/// In seconds. Browsers remember the answer to a preflight for at most two hours, so a change takes effect within the
/// day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The pages that may shorten links, use the API and read the answers: at least one.
#[derive(Clone, Debug)]
pub struct Cors(Vec<CorsOrigin>);

impl Cors {
    /// For pages of `origins`; `None` if there are none.
    pub fn new(origins: Vec<CorsOrigin>) -> Option<Self> {
        (!origins.is_empty()).then_some(Self(origins))
    }

    /// The answer to a preflight, by which a browser asks whether a page may send a request; `None` for any other
    /// request.
    pub(in crate::http) fn preflight(
        &self,
        context: &RequestContext,
    ) -> Option<Result<HttpResponse, ApiError>> {
        let headers = context.headers();
        let allowed = context.resource().methods();
        let is_preflight = context.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        if self.allowed(headers).is_none() {
            return Some(Err(ApiError::MethodNotAllowed { allowed }));
        }
        let answer = HttpResponse::NoContent()
            .insert_header((
                header::ACCESS_CONTROL_ALLOW_METHODS,
                list_of_methods(allowed),
            ))
            .insert_header((
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Api-Key, X-Request-Id",
            ))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
            .finish();
        Some(Ok(answer))
    }

    /// Lets the page that sent `request` read the answer, if its site may. It never asks for cookies or passwords.
    pub(in crate::http) fn add(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if !self.0.contains(&CorsOrigin::Any) {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.allowed(request) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The value of `Access-Control-Allow-Origin` for the page that sent these headers; `None` if its site may not.
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
