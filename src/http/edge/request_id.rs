//! `X-Request-Id`: the caller's, if it is sane, else one of ours.

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue},
    web::Bytes,
};

/// The header, in requests and in answers.
pub(in crate::http) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// The caller's id if it is 1 to 128 of `A-Z`, `a-z`, `0-9`, `-`, `_`, `.`, `:`, `/`, `+`, `=`: fit for a log line
/// and a header. Else 32 random hexadecimal digits.
pub(in crate::http) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&REQUEST_ID).filter(|id| is_sane(id.as_bytes()));
    match given {
        Some(id) => id.clone(),
        None => generate(),
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

fn generate() -> HeaderValue {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let random: [u8; 16] = rand::random();
    let digits = random
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 15].map(|nibble| DIGITS[usize::from(nibble)]));
    let id = digits.collect::<Vec<u8>>();
    HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static(given));
        let id = request_id(&headers);
        id.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        for given in ["a", "7f3a-11", "Root=1-67891233-abcdef012345678912345678"] {
            assert_eq!(id(given), given);
        }
        for given in ["", "has space", "<script>", "a,b", "{\"a\":1}"] {
            let new = id(given);
            assert_eq!(new.len(), 32, "{given:?} gave {new:?}");
            assert!(new.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        assert_ne!(id(""), id(""));
    }
}
