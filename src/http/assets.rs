//! What a browser fetches by itself: the icon, `robots.txt`, and what it looks for under `/.well-known/`.
//!
//! No quota counts these, because no person has asked for them: opening the page is one request. Each answer is a
//! constant, which costs less than a refusal.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Bytes,
};

// Drawn by scripts/icons.
const FAVICON: &[u8] = include_bytes!("assets/favicon.ico");
const TOUCH_ICON: &[u8] = include_bytes!("assets/apple-touch-icon.png");

/// Search engines may find the page, but no links.
const ROBOTS: &[u8] = b"User-agent: *\nAllow: /$\nDisallow: /\n";

/// The same form as any other error that a script gets. Every client gets this form, so one copy in a cache is enough.
const NOT_FOUND: &[u8] = b"{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
    \"error\":\"There is nothing here\"}\n";

const A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");
/// An operator may put something there, and a shared cache must not hide that for long.
const AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Something that a browser fetches by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asset {
    /// `/favicon.ico`
    Favicon,
    /// `/apple-touch-icon.png`, also with a size or `-precomposed` in its name. All get the same size.
    TouchIcon,
    /// `/robots.txt`
    Robots,
    /// `/.well-known/…`, where this service has nothing.
    WellKnown,
}

impl Asset {
    /// The one that a path (without its first slash) names.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "favicon.ico" => Some(Self::Favicon),
            "robots.txt" => Some(Self::Robots),
            ".well-known" => Some(Self::WellKnown),
            _ if name.starts_with(".well-known/") => Some(Self::WellKnown),
            _ => {
                let variant = name
                    .strip_prefix("apple-touch-icon")?
                    .strip_suffix(".png")?;
                let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                let is_variant = variant.is_empty() || variant.starts_with('-');
                (is_variant && variant.bytes().all(named)).then_some(Self::TouchIcon)
            }
        }
    }

    pub(super) fn answer(self) -> HttpResponse {
        let (status, kind, age, content) = match self {
            Self::Favicon => (StatusCode::OK, "image/x-icon", A_DAY, FAVICON),
            Self::TouchIcon => (StatusCode::OK, "image/png", A_DAY, TOUCH_ICON),
            Self::Robots => (StatusCode::OK, "text/plain; charset=utf-8", A_DAY, ROBOTS),
            Self::WellKnown => (
                StatusCode::NOT_FOUND,
                "application/problem+json",
                AN_HOUR,
                NOT_FOUND,
            ),
        };
        HttpResponse::build(status)
            .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(kind)))
            .insert_header((header::CACHE_CONTROL, age))
            .body(Bytes::from_static(content))
    }
}
