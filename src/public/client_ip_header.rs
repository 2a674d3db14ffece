//! The name of the header in which trusted proxies name the client.

use std::{fmt, str::FromStr};

use actix_web::http::header::{self, HeaderName};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED: HeaderName = header::FORWARDED;

/// The header in which trusted proxies name the client. All others are ignored, because proxies pass on headers that
/// they do not write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`: a list, to which each proxy appends the address of its own client.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list like that, with the address as `for=` in each element.
    Forwarded,
    /// Any other header, such as `CF-Connecting-IP` or `X-Real-IP`: one address.
    One(HeaderName),
}

/// The text cannot be the name of a header.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "that cannot be the name of a header, as X-Forwarded-For, Forwarded or CF-Connecting-IP can"
)]
pub struct InvalidHeaderName;

impl ClientIpHeader {
    /// Its name, in lower case.
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
            Self::One(name) => name,
        }
    }
}

impl fmt::Display for ClientIpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().as_str())
    }
}

impl FromStr for ClientIpHeader {
    type Err = InvalidHeaderName;

    fn from_str(text: &str) -> Result<Self, InvalidHeaderName> {
        let name = HeaderName::from_str(text).map_err(|_| InvalidHeaderName)?;
        Ok(if name == X_FORWARDED_FOR {
            Self::XForwardedFor
        } else if name == FORWARDED {
            Self::Forwarded
        } else {
            Self::One(name)
        })
    }
}
