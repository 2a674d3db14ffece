//! Errors, as problem+json.
//!
//! Handlers return [`ApiError`]. Its answer is problem+json (RFC 9457) with one more member, `error`. A browser gets a
//! page instead: see [`refuse`](super::refuse).

use std::fmt;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    keys::{self, ChangeKeyError, CreateKeyError, Scope},
    links::{
        EditRefusal, InvalidAlias, InvalidTarget, NotHashed, NotTold, ShortenError, Unavailable,
    },
    public::list_of_methods,
};

/// Seconds after which a dependency that is down is worth another try.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Seconds after which one of the requests of which a node takes only a few may be over.
const RETRY_BUSY_AFTER_SECONDS: u64 = 5;

/// An error, as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Always `about:blank`: the status says what kind of error it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The name of the status.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong, in a short sentence. If it is about a field, it names the field.
    #[schema(example = "There is no such link")]
    error: &'a str,
}

/// Every reason for which a public route does not do what a request asks for.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The request cannot be understood: its body, its `url`, its headers.
    #[error("{0}")]
    Malformed(String),
    /// The request can be understood, but this cannot be shortened.
    #[error("{0}")]
    Unacceptable(String),
    /// The request has presented a key that is not valid, or something that is no key.
    #[error("That API key is not valid")]
    InvalidKey,
    /// The request needs a key and has none.
    #[error("This needs an API key, which programs send as Authorization: Bearer <key>")]
    KeyNeeded,
    /// The key is valid, but not for this.
    #[error("This needs an API key with the scope {0}")]
    MissingScope(Scope),
    /// The link asks for a password.
    #[error(
        "This link needs a password. Programs send it to the same path: POST, with a field `password`"
    )]
    PasswordNeeded,
    /// It asks for another one.
    #[error("That is not the password of this link")]
    WrongPassword,
    /// Too many passwords are being hashed.
    #[error("Too many passwords are being checked at the moment. Try again in a second")]
    PasswordsBusy,
    /// No such page or link.
    #[error("There is no such link")]
    NotFound,
    /// No key that is not revoked has that name.
    #[error("There is no such key")]
    NoSuchKey,
    /// A key of another number has that name.
    #[error("Another key has that name now")]
    OtherKey,
    /// The link has expired or is used up.
    #[error("This link no longer works")]
    Gone,
    /// The path exists, but not with this method.
    #[error("That method is not allowed here")]
    MethodNotAllowed {
        /// The methods that the path has.
        allowed: &'static [Method],
    },
    /// The body is neither a form nor JSON.
    #[error(
        "Send the URL as a form (application/x-www-form-urlencoded) or as JSON (application/json)"
    )]
    UnsupportedMediaType,
    /// The body is a form, or something else, where only JSON will do.
    #[error("Send JSON (application/json)")]
    NotJson,
    /// The body is compressed, or has another coding.
    #[error("Send the body as it is: Content-Encoding cannot be anything but identity")]
    UnsupportedCoding,
    /// The body is longer than it may be.
    #[error("The request is too large")]
    TooLarge,
    /// The body is longer than it may be, where that is longer than usual.
    #[error("The request is over {} MiB", .most >> 20)]
    OverLimit {
        /// How many bytes it may have.
        most: usize,
    },
    /// One of the links of a request is longer than a request for one link may be.
    #[error("The link is over 32 KiB")]
    LinkTooLarge,
    /// A request for more links than one request makes.
    #[error("One request makes at most {most} links")]
    TooManyLinks {
        /// How many that are.
        most: usize,
    },
    /// The body did not arrive in time.
    #[error("The request took too long to arrive")]
    TooSlow,
    /// Another link has that alias.
    #[error("That alias is taken")]
    AliasTaken,
    /// Another key has that name.
    #[error("A key of that name exists: revoke it, rotate it, or choose another name")]
    KeyNameTaken,
    /// A link was not changed, for this reason.
    #[error("{}", sentence(.0))]
    NotEdited(EditRefusal),
    /// The request is over its quota. The rate limit adds the headers.
    #[error("Rate limit exceeded")]
    RateLimited,
    /// A browser fetches a link ahead, and the visits of the link are limited.
    #[error("Every visit of this link counts, so a browser cannot fetch it ahead")]
    Prefetched,
    /// The node works on as many such requests as it has memory for.
    #[error("Too many such requests at once")]
    Busy,
    /// A dependency that this request needs is down.
    #[error("The service is temporarily unavailable")]
    Unavailable,
}

impl ApiError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unacceptable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InvalidKey | Self::KeyNeeded | Self::PasswordNeeded => StatusCode::UNAUTHORIZED,
            Self::MissingScope(_) | Self::WrongPassword => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType | Self::NotJson | Self::UnsupportedCoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::TooLarge
            | Self::OverLimit { .. }
            | Self::LinkTooLarge
            | Self::TooManyLinks { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::AliasTaken | Self::KeyNameTaken | Self::OtherKey => StatusCode::CONFLICT,
            Self::NotEdited(why) => match why {
                EditRefusal::NotFound | EditRefusal::NoSuchCode => StatusCode::NOT_FOUND,
                EditRefusal::Stale => StatusCode::PRECONDITION_FAILED,
                EditRefusal::TooLate => StatusCode::GONE,
                EditRefusal::NeverWorks | EditRefusal::TooManyCodes => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                EditRefusal::Deleted | EditRefusal::CodeTaken | EditRefusal::MainCode => {
                    StatusCode::CONFLICT
                }
            },
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Prefetched | Self::PasswordsBusy | Self::Busy | Self::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The answer as problem+json.
    pub(super) fn problem(&self) -> HttpResponse {
        let status = self.status();
        let error = self.to_string();
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            error: &error,
        };
        self.response()
            .content_type("application/problem+json")
            .body(json_line(&problem))
    }

    /// The status, and the headers that belong to the error whatever the body is.
    pub(super) fn response(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status());
        // A cache may keep a 404, a 405 or a 410 that says nothing of it, and the alias may exist in a moment.
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        // Browsers get a page, and caches must not give it to other clients.
        response.insert_header((header::VARY, HeaderValue::from_static("Accept")));
        if let Some(challenge) = self.challenge() {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        match self {
            Self::UnsupportedCoding => {
                let identity = HeaderValue::from_static("identity");
                response.insert_header((header::ACCEPT_ENCODING, identity));
            }
            Self::MethodNotAllowed { allowed } => {
                response.insert_header((header::ALLOW, list_of_methods(allowed)));
            }
            Self::PasswordsBusy | Self::Unavailable => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            Self::Busy => {
                response.insert_header((header::RETRY_AFTER, RETRY_BUSY_AFTER_SECONDS));
            }
            // The body was not read to its end, so the start of the next request is not known.
            Self::TooLarge | Self::OverLimit { .. } | Self::TooSlow => {
                response.force_close();
            }
            _ => {}
        }
        response
    }

    /// How to ask again with a key (RFC 6750, 3), or that a form does it: a 401 needs a challenge (RFC 9110, 15.5.2).
    /// Browsers do not know the schemes, and so show the answer.
    fn challenge(&self) -> Option<String> {
        const CHALLENGE: &str = "Bearer realm=\"shunt\"";
        match self {
            Self::KeyNeeded => Some(CHALLENGE.to_owned()),
            Self::PasswordNeeded => Some("Form realm=\"shunt\"".to_owned()),
            Self::InvalidKey => Some(format!("{CHALLENGE}, error=\"invalid_token\"")),
            Self::MissingScope(scope) => Some(format!(
                "{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\""
            )),
            _ => None,
        }
    }
}

/// JSON, and a line feed for people who read it on a terminal.
pub(super) fn json_line(value: &impl Serialize) -> String {
    // Plain structures of strings and numbers always serialize.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
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
            // The store has logged and counted it, if it has failed.
            ShortenError::NotTried | ShortenError::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<EditRefusal> for ApiError {
    fn from(why: EditRefusal) -> Self {
        match why {
            // In the words of every other path that leads nowhere.
            EditRefusal::NotFound => Self::NotFound,
            EditRefusal::NeverWorks => Self::Unacceptable(format!("`starts_at`: {why}")),
            EditRefusal::CodeTaken => Self::AliasTaken,
            why => Self::NotEdited(why),
        }
    }
}

impl From<NotHashed> for ApiError {
    fn from(why: NotHashed) -> Self {
        match why {
            NotHashed::Busy => Self::PasswordsBusy,
            NotHashed::Failed => Self::Unavailable,
        }
    }
}

impl From<NotTold> for ApiError {
    fn from(why: NotTold) -> Self {
        match why {
            NotTold::Busy => Self::Busy,
            NotTold::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<keys::Unavailable> for ApiError {
    fn from(_: keys::Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<CreateKeyError> for ApiError {
    fn from(error: CreateKeyError) -> Self {
        match error {
            CreateKeyError::NameTaken => Self::KeyNameTaken,
            CreateKeyError::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<ChangeKeyError> for ApiError {
    fn from(error: ChangeKeyError) -> Self {
        match error {
            ChangeKeyError::Unknown => Self::NoSuchKey,
            ChangeKeyError::OtherKey => Self::OtherKey,
            ChangeKeyError::Unavailable(_) => Self::Unavailable,
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// The text with a capital letter in front, as the other messages have.
fn sentence(error: impl fmt::Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => text,
    }
}
