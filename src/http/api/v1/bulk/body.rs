//! Which links a body asks for. They are found without being read: what one of them costs is known only when it is.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::MOST_LINKS;
use crate::http::{
    fields::{malformed, shortened, unacceptable, without_mark},
    problem::ApiError,
};

/// The members of the object.
#[derive(Default)]
struct Members<'a> {
    /// The value of `links`.
    links: Option<&'a RawValue>,
    is_repeated: bool,
    /// The first member with another name.
    unknown: Option<String>,
}

/// The elements of an array, as far as they are not too many.
struct Elements<'a> {
    elements: Vec<&'a RawValue>,
    are_too_many: bool,
}

/// The links that a body asks for, each as the text of a JSON value: 1 to 1,000.
///
/// # Errors
/// [`ApiError::Malformed`], [`ApiError::TooManyLinks`], or [`ApiError::Unacceptable`] for none.
pub(super) fn links(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let body = without_mark(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(malformed("The body is not a JSON object"));
    }
    // The parser's own message is for programmers.
    let is_not_json = |_| malformed("The body is not valid JSON");
    let members: Members<'_> = serde_json::from_slice(body).map_err(is_not_json)?;
    if let Some(name) = members.unknown {
        return Err(malformed(format!("Unknown field `{}`", shortened(&name))));
    }
    if members.is_repeated {
        return Err(malformed("The field `links` is repeated"));
    }
    let links = members.links.filter(|links| links.get() != "null");
    let links = links.ok_or_else(|| malformed("The field `links` is missing"))?;
    if !links.get().starts_with('[') {
        return Err(malformed("The field `links` must be an array"));
    }
    let Elements {
        elements,
        are_too_many,
    } = serde_json::from_str(links.get()).map_err(is_not_json)?;
    match elements.len() {
        _ if are_too_many => Err(ApiError::TooManyLinks { most: MOST_LINKS }),
        0 => Err(unacceptable("links", "there is no link in it")),
        _ => Ok(elements),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "links" {
                        let links = map.next_value()?;
                        members.is_repeated |= members.links.replace(links).is_some();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        members.unknown.get_or_insert(name);
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while elements.len() < MOST_LINKS {
                    match array.next_element()? {
                        Some(element) => elements.push(element),
                        None => break,
                    }
                }
                let mut are_too_many = false;
                while array.next_element::<IgnoredAny>()?.is_some() {
                    are_too_many = true;
                }
                Ok(Elements {
                    elements,
                    are_too_many,
                })
            }
        }

        deserializer.deserialize_seq(Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(length: usize) -> String {
        format!("{{\"links\": [{}]}}", vec!["{}"; length].join(","))
    }

    #[test]
    fn the_links_are_found_in_their_order_and_as_they_are_written() {
        let body = "\u{feff} {\"links\": [ {\"url\" : \"a\"}, 5, [ ] ]}";
        let texts: Vec<_> = links(body.as_bytes()).expect("three values");
        let texts: Vec<_> = texts.into_iter().map(RawValue::get).collect();
        assert_eq!(texts, ["{\"url\" : \"a\"}", "5", "[ ]"]);
        let most = array(MOST_LINKS);
        assert_eq!(links(most.as_bytes()).expect("links").len(), MOST_LINKS);
    }

    #[test]
    fn what_asks_for_no_links_is_refused() {
        let deep = format!("{{\"links\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for body in [
            "",
            "[]",
            "[{\"url\": \"a\"}]",
            "{}",
            "{\"links\": null}",
            "{\"links\": {}}",
            "{\"links\": \"a\"}",
            "{\"links\": [{}], \"links\": [{}]}",
            "{\"links\": [{}], \"more\": 1}",
            "{\"links\": [{}]",
            "{\"links\": [{}]} x",
            "{\"links\": [{},]}",
            "{\"links\": [{} {}]}",
        ] {
            let refused = links(body.as_bytes()).expect_err(body);
            assert!(matches!(refused, ApiError::Malformed(_)), "{body}");
        }
        let none = links(array(0).as_bytes()).expect_err("no link");
        assert!(matches!(none, ApiError::Unacceptable(_)), "{none}");
        let too_many = array(MOST_LINKS + 1);
        let refused = links(too_many.as_bytes()).expect_err("too many");
        assert!(matches!(refused, ApiError::TooManyLinks { most: 1_000 }));
        assert!(links(b"{\"links\": [\"\xff\"]}").is_err());
        // It must not end the process. What is in a link is read later, and not so deeply.
        drop(links(deep.as_bytes()));
    }
}
