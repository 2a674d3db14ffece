//! What the parameters of a request about keys may be.

use serde_json::Value;

use super::body::owner_named;
use crate::{
    http::{
        fields::{Member, malformed, shortened, text, unacceptable},
        problem::ApiError,
    },
    keys::{KeyId, KeyName, ListKeys},
};

/// The most keys of a list.
const MAX_LENGTH: u32 = 1_000;

/// What the parameters of the list ask for.
pub(super) fn which(parameters: &mut dyn Iterator<Item = Member>) -> Result<ListKeys, ApiError> {
    let [mut owner, mut all, mut limit, mut cursor] = [const { None }; 4];
    for (name, value) in parameters {
        let parameter = match name.as_str() {
            "owner" => &mut owner,
            "all" => &mut all,
            "limit" => &mut limit,
            "cursor" => &mut cursor,
            _ => return Err(unknown_parameter(&name)),
        };
        take(parameter, &name, value)?;
    }
    let all = match all.as_deref() {
        // `?all` is enough.
        Some("" | "true") => true,
        None | Some("false") => false,
        Some(_) => return Err(malformed("The parameter `all` must be true or false")),
    };
    Ok(ListKeys {
        owner: owner.map(|text| owner_named(&text)).transpose()?,
        all,
        after: cursor.map(|text| place(&text)).transpose()?,
        limit: limit.map(|text| length(&text)).transpose()?,
    })
}

/// The number of the key that the parameters ask for.
pub(super) fn id(parameters: &mut dyn Iterator<Item = Member>) -> Result<Option<KeyId>, ApiError> {
    let mut id = None;
    for (name, value) in parameters {
        match name.as_str() {
            "id" => take(&mut id, &name, value)?,
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let id = id.map(|text: String| text.parse().map(KeyId));
    id.transpose()
        .map_err(|_| unacceptable("id", "the number of a key, as the list shows it"))
}

/// Takes the value of a parameter, which is there at most once.
fn take(parameter: &mut Option<String>, name: &str, value: Value) -> Result<(), ApiError> {
    let value = text(name, value)?;
    if parameter.is_some() {
        return Err(malformed(format!("The parameter `{name}` is repeated")));
    }
    *parameter = value;
    Ok(())
}

fn unknown_parameter(name: &str) -> ApiError {
    malformed(format!("Unknown parameter `{}`", shortened(name)))
}

/// How long a list may be.
fn length(text: &str) -> Result<u32, ApiError> {
    let length = text.parse().ok();
    length
        .filter(|length| (1..=MAX_LENGTH).contains(length))
        .ok_or_else(|| unacceptable("limit", format!("a number from 1 to {MAX_LENGTH}")))
}

/// The key that a cursor stands for: its number, and its name behind a hyphen.
fn place(text: &str) -> Result<(KeyName, KeyId), ApiError> {
    let place = text.split_once('-').and_then(|(id, name)| {
        let name = KeyName::parse(name).ok()?;
        Some((name, KeyId(id.parse().ok()?)))
    });
    place.ok_or_else(|| unacceptable("cursor", "the `next` of a list"))
}
