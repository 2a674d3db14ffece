//! The fields of `POST /shorten`.

use std::time::{Duration, SystemTime};

use actix_web::dev::Payload;

use crate::{
    http::{
        edge::RequestContext,
        fields::{
            MediaType, code_length, expires_at, expires_in, fields, flag, given, json_members,
            list, malformed, max_visits, note, now, number, password, read_members, redirect,
            starts_at, tags, text, title, unacceptable,
        },
        problem::ApiError,
    },
    links::{CodeLength, Expiry, Labels, Manner, Password, Terms},
};

/// What `POST /shorten` asks for. Everything is checked but the URLs and the alias.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct ShortenForm {
    pub(in crate::http) url: String,
    pub(in crate::http) alias: Option<String>,
    pub(in crate::http) code_length: Option<CodeLength>,
    pub(in crate::http) terms: Terms,
    pub(in crate::http) manner: Manner,
    pub(in crate::http) fallback_url: Option<String>,
    pub(in crate::http) enabled: bool,
    pub(in crate::http) password: Option<Password>,
    pub(in crate::http) labels: Labels,
}

fields!(
    url: text,
    alias: text,
    code_length: number,
    expires_in: number,
    expires_at: text,
    starts_at: text,
    max_visits: number,
    redirect: number,
    forward_query: flag,
    fallback_url: text,
    enabled: flag,
    password: text,
    title: text,
    note: text,
    tags: list,
);

impl ShortenForm {
    /// The names of the fields that it is read from.
    pub(in crate::http) const FIELDS: &'static [&'static str] = Fields::NAMES;

    /// Reads and parses the body: at most 32 KiB, within `within`.
    pub(in crate::http) async fn read(
        context: &RequestContext,
        payload: Payload,
        within: Duration,
    ) -> Result<Self, ApiError> {
        let media_type = MediaType::of(context.headers());
        let fields = read_members(context, payload, within, Fields::read).await?;
        fields.check(media_type?, now())
    }

    /// Parses the text of a JSON object.
    pub(in crate::http) fn parse(text: &str) -> Result<Self, ApiError> {
        json_members(text, Fields::read)?.check(MediaType::Json, now())
    }
}

impl Fields {
    fn check(self, media_type: MediaType, now: SystemTime) -> Result<ShortenForm, ApiError> {
        let url = given(self.url).ok_or_else(|| malformed("The field `url` is missing"))?;
        let alias = given(self.alias);
        let length = given(self.code_length).map(|text| code_length(&text));
        if alias.is_some() && length.is_some() {
            return Err(unacceptable(
                "code_length",
                "a link with an `alias` has no random code",
            ));
        }
        let starts = given(self.starts_at).map(|text| starts_at(&text, now));
        let visits = given(self.max_visits).map(|text| max_visits(&text));
        let terms = Terms {
            starts_at: starts.transpose()?.flatten(),
            expiry: expiry(given(self.expires_in), given(self.expires_at), now)?,
            max_visits: visits.transpose()?,
        };
        check_order(&terms, now)?;
        let status = given(self.redirect).map(|text| redirect(&text));
        let is_true = |flag: Option<String>| flag.map(|text| text == "true");
        // A browser sends a field that its user left empty. Otherwise, an empty password is an error, as spaces always
        // are, and not the same as none: the link would be open to everybody.
        let password = match (media_type, self.password.as_deref()) {
            (_, None) | (MediaType::Form, Some("")) => None,
            (_, Some(text)) => Some(password(text)?),
        };
        let title = given(self.title).map(|text| title(&text));
        let note = given(self.note).map(|text| note(&text));
        let tags = given(self.tags).map(|text| tags(&text));
        Ok(ShortenForm {
            url,
            alias,
            code_length: length.transpose()?,
            terms,
            manner: Manner {
                redirect: status.transpose()?.unwrap_or_default(),
                forward_query: is_true(self.forward_query).unwrap_or(false),
            },
            fallback_url: given(self.fallback_url),
            enabled: is_true(self.enabled).unwrap_or(true),
            password,
            labels: Labels {
                title: title.transpose()?,
                note: note.transpose()?,
                tags: tags.transpose()?.unwrap_or_default(),
            },
        })
    }
}

/// One of the two ways to say when a link stops working.
fn expiry(
    time_left: Option<String>,
    time: Option<String>,
    now: SystemTime,
) -> Result<Option<Expiry>, ApiError> {
    match (time_left, time) {
        (Some(_), Some(_)) => Err(unacceptable(
            "expires_at",
            "a link has either `expires_in` or `expires_at`",
        )),
        (Some(text), None) => expires_in(&text).map(Some),
        (None, Some(text)) => expires_at(&text, now).map(Some),
        (None, None) => Ok(None),
    }
}

/// A link must start before it expires.
fn check_order(terms: &Terms, now: SystemTime) -> Result<(), ApiError> {
    let end = terms.expiry.map(|expiry| match expiry {
        Expiry::In(duration) => now + duration,
        Expiry::At(time) => time,
    });
    match (terms.starts_at, end) {
        (Some(start), Some(end)) if start >= end => Err(unacceptable(
            "starts_at",
            "the link would have expired before it starts",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        http::fields::form_members,
        links::{Note, Redirect, Tags, Title},
    };

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
    }

    fn form(body: &[u8]) -> Result<ShortenForm, ApiError> {
        form_members(body, Fields::read)?.check(MediaType::Form, now())
    }

    fn json(body: &str) -> Result<ShortenForm, ApiError> {
        json_members(body, Fields::read)?.check(MediaType::Json, now())
    }

    /// A body of 16,000 wrong members must not cost more than one of one.
    #[test]
    fn reading_ends_at_the_first_member_that_is_wrong() {
        let wrong = ("colour".to_owned(), Value::Null);
        let others = std::iter::from_fn(|| panic!("this one is not read"));
        let read = Fields::read(&mut std::iter::once(wrong).chain(others));
        assert!(matches!(read, Err(ApiError::Malformed(_))));
    }

    #[test]
    fn both_forms_say_the_same() {
        let expected = ShortenForm {
            url: "https://example.com/?a=b&c=d e".to_owned(),
            alias: Some("mine".to_owned()),
            code_length: None,
            terms: Terms {
                starts_at: Some(now() + Duration::from_secs(60)),
                expiry: Some(Expiry::In(Duration::from_secs(7 * 86_400))),
                max_visits: Some(3),
            },
            manner: Manner {
                redirect: Redirect::TemporaryRedirect,
                forward_query: true,
            },
            fallback_url: Some("https://example.com/over".to_owned()),
            enabled: false,
            password: Password::parse("open sesame").ok(),
            labels: Labels {
                title: Title::parse("A title").ok(),
                note: Note::parse("one\ntwo").ok(),
                tags: Tags::parse(["a", "b c"]).expect("tags"),
            },
        };
        let body =
            b"url=https%3A%2F%2Fexample.com/?a=b%26c=d+e&alias=mine&expires_in=7d&max_visits=3\
            &starts_at=2030-03-17T17:47:40Z&redirect=307&forward_query=on&enabled=false&password=open+sesame\
            &fallback_url=https://example.com/over&title=A+title&note=one%0D%0Atwo&tags=a,+b+c,";
        assert_eq!(form(body).expect("a form"), expected);
        let body = r#"{"url": "https://example.com/?a=b&c=d e", "alias": "mine",
                       "expires_in": 604800, "max_visits": "3", "redirect": 307, "forward_query": true,
                       "starts_at": "2030-03-17T19:47:40+02:00", "enabled": false, "password": "open sesame",
                       "fallback_url": "https://example.com/over", "title": "A title",
                       "note": "one\ntwo", "tags": ["a", "b c", "a"]}"#;
        assert_eq!(json(body).expect("an object"), expected);
    }

    #[test]
    fn empty_optional_fields_are_left_out() {
        let form =
            form(b"url=https://example.com/&alias=&expires_in=+&max_visits=").expect("a form");
        assert_eq!((form.alias, form.terms), (None, Terms::default()));
    }

    #[test]
    fn an_empty_password_is_none_in_a_form_only() {
        let none = form(b"url=https://example.com/&password=").expect("a form");
        assert_eq!(none.password, None);
        let none = json(r#"{"url": "https://example.com/", "password": null}"#);
        assert_eq!(none.expect("an object").password, None);
        for text in ["", " "] {
            let result = json(&format!(r#"{{"url": "a", "password": "{text}"}}"#));
            assert!(
                matches!(result, Err(ApiError::Unacceptable(_))),
                "{result:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_understood_is_malformed() {
        let deep = format!("{{\"url\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let deep_unknown = format!("{{\"x\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"https://example.com/\"",
            "[\"https://example.com/\"]",
            "{\"url\": 5}",
            "{\"url\": null}",
            "{\"url\": {}}",
            "{\"url\": \"\"}",
            "{\"url\": \"a\"",
            "{\"url\": \"a\", \"url\": \"b\"}",
            "{\"url\": \"a\", \"x\": 1}",
            "{\"url\": \"a\"} x",
            "{\"url\": \"a\", \"max_visits\": []}",
            "{\"url\": \"a\", \"enabled\": 1}",
            "{\"url\": \"a\", \"tags\": [1]}",
            "{\"url\": \"a\", \"password\": 1234}",
            "{\"url\": \"\\ud800\"}",
            &deep,
            &deep_unknown,
        ] {
            let result = json(body);
            assert!(
                matches!(result, Err(ApiError::Malformed(_))),
                "{body:.60} gave {result:?}"
            );
        }
        for body in [
            &b""[..],
            b"url",
            b"url=",
            b"url=+",
            b"other=1",
            b"url=a&url=b",
            b"url=a&x=1",
            b"url=%ff",
            b"url=\xff",
            b"%ff=a",
            b"url=a&url",
        ] {
            let result = form(body);
            assert!(
                matches!(result, Err(ApiError::Malformed(_))),
                "{body:?} gave {result:?}"
            );
        }
    }

    #[test]
    fn impossible_terms_are_unacceptable() {
        for field in [
            "expires_in=0",
            "expires_in=-1",
            "expires_in=11y",
            "expires_in=soon",
            "max_visits=0",
            "max_visits=x",
            "max_visits=4294967296",
            "expires_in=99999999999999999999",
            "expires_in=1h&expires_at=2031-01-01T00:00:00Z",
            "expires_at=2020-01-01T00:00:00Z",
            "expires_at=2031-01-01T00:00:00Z&starts_at=2031-01-01T00:00:00Z",
            "expires_in=1h&starts_at=2031-01-01T00:00:00Z",
            "starts_at=soon",
            "code_length=3",
            "code_length=33",
            "code_length=8&alias=mine",
            "redirect=300",
            "redirect=-302",
            "title=a%0Ab",
            "note=%00",
            "tags=a%0Ab",
            "password=+",
            "password=a%0Ab",
        ] {
            let result = form(format!("url=a&{field}").as_bytes());
            assert!(
                matches!(result, Err(ApiError::Unacceptable(_))),
                "{field} gave {result:?}"
            );
        }
    }
}
