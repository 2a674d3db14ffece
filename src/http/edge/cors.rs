//! Pages of other sites (CORS): which of them may shorten links and read the answers.
//!
//! Own code, as `actix-cors` is a middleware: it would stand around every request, redirects included, where this is
//! about one route. The protocol is that of <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};

use crate::{
    http::problem::ApiError,
    public::{CorsOrigin, Route},
};

/// What a script may read besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id",
);

/// Two hours, in seconds: browsers remember a preflight no longer, and an operator's change is felt within the day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The pages that may shorten links and read the answers: at least one.
#[derive(Clone, Debug)]
pub struct Cors(Vec<CorsOrigin>);

impl Cors {
    /// For pages of `origins`; `None` if there are none.
    pub fn new(origins: Vec<CorsOrigin>) -> Option<Self> {
        (!origins.is_empty()).then_some(Self(origins))
    }

    /// The answer to a preflight, by which a browser asks whether a page may shorten; `None` if the request is
    /// something else.
    pub(in crate::http) fn preflight(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        if self.allowed(headers).is_none() {
            return Some(
                ApiError::MethodNotAllowed {
                    allowed: Route::Shorten.methods(),
                }
                .answer(request),
            );
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
    pub(in crate::http) fn add(&self, request: &HttpRequest, answer: &mut HeaderMap) {
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
