//! `X-Request-Id`: the caller's, if it is fit for a log line, else a new one.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header, in requests and in answers.
pub(in crate::http) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// The caller's id if it has 1 to 128 characters of `A-Z`, `a-z`, `0-9`, `-`, `_`, `.`, `:`, `/`, `+`, `=`: these are
/// fit for a log line and a header. Else 32 random hexadecimal digits.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&REQUEST_ID).filter(|id| is_fit(id.as_bytes()));
    match given {
        Some(id) => id.clone(),
        None => generate(),
    }
}

fn is_fit(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

fn generate() -> HeaderValue {
    let random: [u8; 16] = rand::random();
    let mut digits = [0; 32];
    // Two digits for each byte always fit. The formatter of the standard library takes three times as many
    // instructions.
    let encoded = hex::encode_to_slice(random, &mut digits).ok();
    let id = encoded.and_then(|()| HeaderValue::from_bytes(&digits).ok());
    id.unwrap_or(HeaderValue::from_static("none"))
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
    fn a_fit_id_is_kept_and_any_other_replaced() {
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
