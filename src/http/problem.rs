//! What a refused request is told.
//!
//! Handlers return [`ApiError`]. It answers as RFC 9457 problem+json with one extra member, `error`;
//! a browser is shown a page instead.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

use super::{edge::form_action, page};
use crate::links::{InvalidAlias, InvalidTarget, ShortenError, Unavailable};

/// Seconds after which a dependency that is down is worth another try.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Everything a public route can refuse a request for.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The request cannot be understood: its body, its `url`, its headers.
    #[error("{0}")]
    Malformed(String),
    /// The `url` is well-formed input, but cannot be shortened.
    #[error("{0}")]
    Unacceptable(String),
    /// No such page or link.
    #[error("There is no such link")]
    NotFound,
    /// The link has expired or is used up.
    #[error("This link no longer works")]
    Gone,
    /// The path exists, but not with this method.
    #[error("That method is not allowed here")]
    MethodNotAllowed {
        /// The methods that are.
        allowed: &'static [Method],
    },
    /// The body is neither a form nor JSON.
    #[error(
        "Send the URL as a form (application/x-www-form-urlencoded) or as JSON (application/json)"
    )]
    UnsupportedMediaType,
    /// The body is compressed, or in another coding.
    #[error("Send the body as it is: Content-Encoding cannot be anything but identity")]
    UnsupportedCoding,
    /// The body is over 32 KiB.
    #[error("The request is too large")]
    TooLarge,
    /// The body did not arrive in time.
    #[error("The request took too long to arrive")]
    TooSlow,
    /// Somebody else has that alias.
    #[error("That alias is taken")]
    AliasTaken,
    /// Over the quota. The headers come from the rate limit.
    #[error("Rate limit exceeded")]
    RateLimited,
    /// A browser fetches ahead what must not be fetched before somebody follows it.
    #[error("Every visit of this link counts, so a browser cannot fetch it ahead")]
    Prefetched,
    /// A dependency that this request needs is down.
    #[error("The service is temporarily unavailable")]
    Unavailable,
}

impl ApiError {
    /// What `Retry-After` says where the error itself knows.
    pub(super) fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Unavailable).then_some(RETRY_AFTER_SECONDS)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unacceptable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType | Self::UnsupportedCoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::AliasTaken => StatusCode::CONFLICT,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Prefetched | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            error: &'a str,
        }

        let status = self.status_code();
        let error = self.to_string();
        let mut response = HttpResponse::build(status);
        self.add_headers(&mut response);
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            error: &error,
        };
        response
            .content_type("application/problem+json")
            .body(json_line(&problem))
    }
}

impl ApiError {
    /// As a page for a browser, else as problem+json.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        if page::is_wanted(request.headers()) {
            page::error_page(self, form_action(request.path()))
        } else {
            self.error_response()
        }
    }
}

/// JSON and the end of the line, for people who read it on a terminal.
pub(super) fn json_line(value: &impl Serialize) -> String {
    // Plain structures of strings and numbers always serialize.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

impl ApiError {
    /// The headers that belong to the error in whatever form it is answered.
    pub(super) fn add_headers(&self, response: &mut actix_web::HttpResponseBuilder) {
        // A cache may keep a 404, a 405 or a 410 that says nothing, and the alias may exist in a moment.
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        // Browsers get a page, and caches must not give them anything else.
        response.insert_header((header::VARY, HeaderValue::from_static("Accept")));
        if matches!(self, Self::UnsupportedCoding) {
            let identity = HeaderValue::from_static("identity");
            response.insert_header((header::ACCEPT_ENCODING, identity));
        }
        if let Self::MethodNotAllowed { allowed } = self {
            let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
            response.insert_header((header::ALLOW, names.join(", ")));
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        // After a body that was not read to its end, the next request cannot be found.
        if matches!(self, Self::TooLarge | Self::TooSlow) {
            response.force_close();
        }
    }
}

impl From<InvalidTarget> for ApiError {
    fn from(error: InvalidTarget) -> Self {
        Self::Unacceptable(sentence(error))
    }
}

impl From<InvalidAlias> for ApiError {
    fn from(error: InvalidAlias) -> Self {
        Self::Unacceptable(sentence(error))
    }
}

impl From<ShortenError> for ApiError {
    fn from(error: ShortenError) -> Self {
        match error {
            ShortenError::AliasTaken => Self::AliasTaken,
            // Logged and counted where the store failed.
            ShortenError::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// With a capital letter in front, as the other messages have.
pub(super) fn sentence(error: impl fmt::Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => text,
    }
}
