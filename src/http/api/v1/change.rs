//! The fields of a `PATCH`: a JSON merge patch (RFC 7396) of a link.

use std::time::SystemTime;

use actix_web::dev::Payload;
use serde_json::Value;

use crate::{
    http::{
        AppState,
        edge::RequestContext,
        fields::{
            Member, expires_at, expires_in, fallback_url, flag, given, list, malformed, max_visits,
            note, now, number, password, read_json_members, redirect, shortened, starts_at, tags,
            text, title, unacceptable,
        },
        problem::ApiError,
        shorten::{ShortenForm, base_url},
    },
    links::{Expiry, LinkChange, Part, Password, Schemes, TargetUrl},
};

/// Reads the body: at most 32 KiB.
pub(super) async fn read_patch(
    state: &AppState,
    context: &RequestContext,
    payload: Payload,
) -> Result<Patch, ApiError> {
    let take = |members: &mut dyn Iterator<Item = Member>| read(members, &state.schemes, now());
    let patch = read_json_members(context, payload, state.request_timeout, take).await?;
    let change = &patch.change;
    // Neither may be this service itself.
    for target in change.target.iter().chain(change.fallback.value()) {
        base_url(state, context.origin()?, target)?;
    }
    Ok(patch)
}

/// The names of the fields that there are: those of a new link, as far as a link can be changed.
pub(super) fn fields() -> Vec<&'static str> {
    let names = ShortenForm::FIELDS.iter().copied();
    names.filter(|name| reader(name).is_ok()).collect()
}

/// What a body asks for.
pub(super) struct Patch {
    /// All but the password.
    pub(super) change: LinkChange,
    /// A password is hashed before it becomes part of a change.
    pub(super) password: Part<Password>,
}

/// Fields of which an empty value means that the link has none.
const EMPTY_IS_NONE: [&str; 3] = ["title", "note", "tags"];

/// Reads members one by one, and stops at the first that is wrong. A field that is not there changes nothing; one that
/// is `null` removes what the link has, or sets it to what a new link has.
fn read(
    members: &mut dyn Iterator<Item = Member>,
    schemes: &Schemes,
    now: SystemTime,
) -> Result<Patch, ApiError> {
    let (mut change, mut new_password) = (LinkChange::default(), Part::default());
    let mut expiry = Times::default();
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in members {
        let is_null = value.is_null();
        let value = given(reader(&name)?(&name, value)?);
        if value.is_none() && !is_null && !EMPTY_IS_NONE.contains(&&*name) {
            return Err(unacceptable(&name, "to remove it, send null"));
        }
        if seen.contains(&name) {
            return Err(malformed(format!("The field `{name}` is repeated")));
        }
        let text = value.as_deref();
        match name.as_str() {
            "url" => {
                let url = text.ok_or_else(|| unacceptable("url", "a link always has one"))?;
                let target = TargetUrl::parse(url, schemes);
                change.target = Some(target.map_err(|error| unacceptable("url", error))?);
            }
            "starts_at" => {
                // A time in the past is no start: the link has started.
                let start = text.map(|text| starts_at(text, now)).transpose()?.flatten();
                change.starts_at = part(start);
            }
            "expires_in" => expiry.left = part(text.map(expires_in).transpose()?),
            "expires_at" => {
                let at = text.map(|text| expires_at(text, now));
                expiry.at = part(at.transpose()?);
            }
            "max_visits" => change.max_visits = part(text.map(max_visits).transpose()?),
            "redirect" => {
                let status = text.map(redirect).transpose()?;
                change.redirect = Some(status.unwrap_or_default());
            }
            "forward_query" => change.forward_query = Some(text == Some("true")),
            "fallback_url" => {
                let url = text.map(|text| fallback_url(text, schemes));
                change.fallback = part(url.transpose()?);
            }
            "password" => new_password = part(text.map(password).transpose()?),
            "enabled" => change.enabled = Some(text != Some("false")),
            "title" => change.title = part(text.map(title).transpose()?),
            "note" => change.note = part(text.map(note).transpose()?),
            // Only `tags` is left.
            _ => change.tags = Some(text.map(tags).transpose()?.unwrap_or_default()),
        }
        seen.push(name);
    }
    change.expiry = expiry.meant()?;
    Ok(Patch {
        change,
        password: new_password,
    })
}

type Reader = fn(&str, Value) -> Result<Option<String>, ApiError>;

/// How the value of a field is read.
fn reader(name: &str) -> Result<Reader, ApiError> {
    Ok(match name {
        "url" | "starts_at" | "expires_at" | "fallback_url" | "password" | "title" | "note" => text,
        "expires_in" | "max_visits" | "redirect" => number,
        "forward_query" | "enabled" => flag,
        "tags" => list,
        _ => return Err(malformed(format!("Unknown field `{}`", shortened(name)))),
    })
}

/// What becomes of a part that is given, or given as nothing.
fn part<T>(value: Option<T>) -> Part<T> {
    value.map_or(Part::Removed, Part::Set)
}

/// The two ways to say when a link stops working.
#[derive(Default)]
struct Times {
    left: Part<Expiry>,
    at: Part<Expiry>,
}

impl Times {
    fn meant(self) -> Result<Part<Expiry>, ApiError> {
        match (self.left, self.at) {
            (Part::Set(_), Part::Set(_)) => Err(unacceptable(
                "expires_at",
                "a link has either `expires_in` or `expires_at`",
            )),
            (set @ Part::Set(_), _) | (_, set @ Part::Set(_)) => Ok(set),
            (Part::Kept, Part::Kept) => Ok(Part::Kept),
            (Part::Removed, _) | (_, Part::Removed) => Ok(Part::Removed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        http::fields::json_members,
        links::{Note, Redirect, Tags, Title},
    };

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
    }

    fn patch(body: &str) -> Result<Patch, ApiError> {
        json_members(body, |members| read(members, &Schemes::default(), noon()))
    }

    fn change(body: &str) -> Result<LinkChange, ApiError> {
        patch(body).map(|patch| patch.change)
    }

    #[test]
    fn a_password_is_kept_removed_or_set() {
        let sesame = Password::parse("sesame").expect("a password");
        for (body, password) in [
            ("{}", Part::Kept),
            (r#"{"password": null}"#, Part::Removed),
            (r#"{"password": " sesame "}"#, Part::Set(sesame)),
        ] {
            assert_eq!(patch(body).expect(body).password, password, "{body}");
        }
    }

    #[test]
    fn what_is_not_there_is_kept_and_null_removes() {
        assert!(change("{}").expect("nothing").is_empty());
        let all = r#"{"url": "https://example.org/", "starts_at": "2031-01-01T00:00:00Z", "expires_in": 60,
            "max_visits": "5", "redirect": 308, "forward_query": true, "fallback_url": "https://example.org/f",
            "enabled": false, "title": " A ", "note": "B", "tags": ["c", "d"]}"#;
        let target = |text: &str| TargetUrl::parse(text, &Schemes::default()).expect("a URL");
        let expected = LinkChange {
            target: Some(target("https://example.org/")),
            starts_at: Part::Set(SystemTime::UNIX_EPOCH + Duration::from_secs(1_924_992_000)),
            expiry: Part::Set(Expiry::In(Duration::from_secs(60))),
            max_visits: Part::Set(5),
            redirect: Some(Redirect::PermanentRedirect),
            forward_query: Some(true),
            fallback: Part::Set(target("https://example.org/f")),
            enabled: Some(false),
            title: Part::Set(Title::parse("A").expect("a title")),
            note: Part::Set(Note::parse("B").expect("a note")),
            tags: Some(Tags::parse(["c", "d"]).expect("tags")),
            password: Part::Kept,
        };
        assert_eq!(change(all).expect("changes"), expected);
        let nulls = r#"{"starts_at": null, "expires_at": null, "max_visits": null, "redirect": null,
            "forward_query": null, "fallback_url": null, "enabled": null, "title": "", "note": null, "tags": []}"#;
        let expected = LinkChange {
            target: None,
            starts_at: Part::Removed,
            expiry: Part::Removed,
            max_visits: Part::Removed,
            redirect: Some(Redirect::Found),
            forward_query: Some(false),
            fallback: Part::Removed,
            enabled: Some(true),
            title: Part::Removed,
            note: Part::Removed,
            tags: Some(Tags::default()),
            password: Part::Kept,
        };
        assert_eq!(change(nulls).expect("changes"), expected);
    }

    #[test]
    fn an_expiry_is_given_in_one_way() {
        let set = Part::Set(Expiry::In(Duration::from_secs(60)));
        for body in [
            r#"{"expires_in": 60}"#,
            r#"{"expires_in": 60, "expires_at": null}"#,
            r#"{"expires_at": null, "expires_in": "1m"}"#,
        ] {
            assert_eq!(change(body).expect(body).expiry, set, "{body}");
        }
        let both = r#"{"expires_in": 60, "expires_at": "2031-01-01T00:00:00Z"}"#;
        change(both).expect_err("two expiries");
        let started = change(r#"{"starts_at": "2020-01-01T00:00:00Z"}"#);
        assert_eq!(started.expect("a change").starts_at, Part::Removed);
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (body, name) in [
            (r#"{"url": null}"#, "url"),
            (r#"{"url": " "}"#, "url"),
            (r#"{"url": "example.org"}"#, "url"),
            (r#"{"url": 5}"#, "url"),
            (r#"{"starts_at": 5}"#, "starts_at"),
            (r#"{"expires_in": 0}"#, "expires_in"),
            (r#"{"expires_at": "2020-01-01T00:00:00Z"}"#, "expires_at"),
            (r#"{"max_visits": 0}"#, "max_visits"),
            (r#"{"max_visits": [1]}"#, "max_visits"),
            (r#"{"redirect": 200}"#, "redirect"),
            (r#"{"forward_query": 2}"#, "forward_query"),
            (r#"{"fallback_url": "javascript:alert(1)"}"#, "fallback_url"),
            (r#"{"enabled": "perhaps"}"#, "enabled"),
            (r#"{"password": 1234}"#, "password"),
            (r#"{"password": ""}"#, "password"),
            (r#"{"password": " "}"#, "password"),
            (r#"{"title": "a\u0000"}"#, "title"),
            (r#"{"note": {}}"#, "note"),
            (r#"{"tags": ["a,b"]}"#, "tags"),
            (r#"{"title": "a", "title": null}"#, "title"),
            (r#"{"owner": "bert"}"#, "owner"),
            (r#"{"code": "other"}"#, "code"),
        ] {
            let message = change(body).expect_err(body).to_string();
            assert!(message.contains(&format!("`{name}`")), "{body}: {message}");
        }
    }
}
