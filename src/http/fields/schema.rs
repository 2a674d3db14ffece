//! What the fields of a body may be, for the document of the API.
//!
//! [`values`](super::values) decides what is accepted. A schema here is never stricter than that, so that nobody who
//! holds their requests against the document is told less than the truth. What a schema cannot say, such as that a time
//! must not be in the past, its description says.

use serde_json::{Map, Value, json};

/// The longest life of a link and of a key, in seconds.
const TEN_YEARS: u64 = 10 * 366 * 86_400;

/// How a field is described, for every body that has it.
fn description(name: &str) -> Option<&'static str> {
    Some(match name {
        "url" => "Where the link leads: an absolute URL of at most 8192 bytes.",
        "alias" => "The code: 3 to 64 letters, digits, `-` and `_`.",
        "code_length" => "The length of the random code. Not together with `alias`.",
        "expires_in" => {
            "How long it works: seconds, or a duration like `7d`, from 1 second to 10 years."
        }
        "expires_at" => {
            "When it stops working: a time as RFC 3339 writes it, in the next 10 years. Not together with `expires_in`."
        }
        "starts_at" => {
            "From when on it works: a time as RFC 3339 writes it, in the next 10 years. A time in the past is no start."
        }
        "max_visits" => "How many visits it has, 1 to 1,000,000,000.",
        "redirect" => "The status of the redirect: 301, 302, 303, 307 or 308.",
        "forward_query" => "Whether the query of the visitor's request is added to the target.",
        "fallback_url" => "Where it leads once it has expired or is used up.",
        "enabled" => "`false` if it is taken down.",
        "password" => "What visitors are asked for: 1 to 128 characters. Only its hash is stored.",
        "links" => "The links: for each an object, as for one link. Together at most 4 MiB.",
        "title" => {
            "One line of at most 500 characters. Visitors see it only if they ask what the link is."
        }
        "note" => "At most 5,000 characters. Visitors never see it.",
        "tags" => {
            "At most 20, each of at most 50 characters without a comma. Also accepted as one string with commas."
        }
        "code" => "The further code: 3 to 64 letters, digits, `-` and `_`.",
        "main" => "Whether it becomes the main code. The former one keeps working.",
        "name" => {
            "What to call the key: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. No two keys that are not revoked have the same name."
        }
        "scopes" => {
            "What the key allows: one or more of `create`, `manage`, `stats` and `admin`. Also accepted as one string with commas."
        }
        "owner" => {
            "Whom the key acts for: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `-`, `@` and `+`."
        }
        "quota" => "How many requests the key may make.",
        _ => return None,
    })
}

/// What it means for something new that there is no such field, or that it is `null`.
fn left_out(name: &str) -> Option<&'static str> {
    Some(match name {
        "alias" => "If left out, a random code.",
        "code_length" => "If left out, `links.code_length`.",
        "expires_in" | "expires_at" => "If left out, it works for ever.",
        "max_visits" => "If left out, any number.",
        "redirect" => "If left out, 302.",
        "forward_query" | "main" => "If left out, `false`.",
        "enabled" => "If left out, `true`.",
        "owner" => "If left out, `default`.",
        "quota" => "If left out, as many as every key.",
        _ => return None,
    })
}

/// What `null` means for something that is changed. A field that is not there changes nothing.
fn removed(name: &str) -> Option<&'static str> {
    Some(match name {
        "url" => return None,
        "redirect" => "`null` means 302.",
        "forward_query" => "`null` means `false`.",
        "enabled" => "`null` means `true`.",
        _ => "`null` removes it.",
    })
}

/// What its value looks like.
fn example(name: &str) -> Value {
    match name {
        "url" => json!("https://example.com/a/long/path"),
        "alias" => json!("launch"),
        "code_length" => json!(8),
        "expires_in" => json!("7d"),
        "expires_at" => json!("2030-12-31T18:00:00+01:00"),
        "starts_at" => json!("2030-01-01T00:00:00Z"),
        "max_visits" => json!(100),
        "redirect" => json!(307),
        "forward_query" | "main" => json!(true),
        "fallback_url" => json!("https://example.com/over"),
        "enabled" => json!(false),
        "password" => json!("open sesame"),
        "links" => json!([{ "url": "https://example.com/a" }, { "url": "https://example.com/b" }]),
        "title" => json!("The launch"),
        "note" => json!("For the newsletter"),
        "tags" => json!(["launch", "mail"]),
        "code" => json!("spring-launch"),
        "name" => json!("phone"),
        "scopes" => json!(["create", "manage"]),
        "owner" => json!("anna"),
        "quota" => json!("600/minute"),
        _ => Value::Null,
    }
}

/// What its value may be in JSON. `null` is the same as no field, or, in a merge patch, removes what there is.
fn constraints(name: &str) -> Value {
    // An empty text is the same as no field.
    const CODE: &str = "^([A-Za-z0-9_-]{3,64}|\\s*)$";
    // The format is `url`, and not `uri`: what browsers take for a URL need not be one of RFC 3986, as
    // `https://example.com/%` is not.
    const NOT_BLANK: &str = "\\S";
    // Not the format `date-time`: spaces around it are accepted, and in a form a plus sign may have become one.
    const TIME: &str = "^\\s*([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][^\\n]*)?$";
    let number = |least: u64, most: u64| {
        let types = ["integer", "string", "null"];
        json!({ "type": types, "minimum": least, "maximum": most })
    };
    match name {
        "url" => json!({ "type": "string", "format": "url", "pattern": NOT_BLANK }),
        "links" => json!({
            "type": "array", "items": { "$ref": "#/components/schemas/NewLink" }, "minItems": 1, "maxItems": 1_000,
        }),
        "name" => json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
        "alias" => json!({ "type": ["string", "null"], "pattern": CODE }),
        "code" => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{3,64}$" }),
        "code_length" => number(4, 32),
        "expires_in" => number(1, TEN_YEARS),
        "max_visits" => number(1, 1_000_000_000),
        "redirect" => json!({ "anyOf": [
            { "type": "integer", "enum": [301, 302, 303, 307, 308] },
            { "type": ["string", "null"] },
        ] }),
        "expires_at" | "starts_at" => {
            json!({ "type": ["string", "null"], "pattern": TIME })
        }
        "forward_query" | "enabled" | "main" => json!({
            "type": ["boolean", "string", "null"],
            "pattern": "^\\s*(true|false|1|0|on|off)?\\s*$",
        }),
        "tags" => json!({ "type": ["array", "string", "null"], "items": { "type": "string" } }),
        "scopes" => json!({
            "type": ["array", "string"], "items": { "type": "string" }, "minItems": 1,
        }),
        "fallback_url" => json!({ "type": ["string", "null"], "format": "url" }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

/// The schema of a JSON object that makes something, with these fields and no others.
pub(in crate::http) fn object(names: &[&str], required: &[&str], about: &str) -> Value {
    let properties = names.iter().map(|name| (*name, constraints(name)));
    body(properties, required, about, left_out)
}

/// The same for one that changes something: none of the fields must be there.
pub(in crate::http) fn change(names: &[&str], about: &str) -> Value {
    let properties = names.iter().map(|name| (*name, constraints(name)));
    body(properties, &[], about, removed)
}

/// The schema of a form with these fields and no others: each is a string, and empty if it is not filled in.
pub(in crate::http) fn form(names: &[&str], required: &[&str], about: &str) -> Value {
    let properties = names.iter().map(|name| {
        let mut schema = constraints(name);
        let kept = ["format", "pattern"].map(|key| (key, schema[key].take()));
        let kept = kept.into_iter().filter(|(_, value)| !value.is_null());
        let mut string = json!({ "type": "string" });
        for (key, value) in kept {
            string[key] = value;
        }
        (*name, string)
    });
    let mut form = body(properties, required, about, left_out);
    for name in names {
        let text = match example(name) {
            Value::Array(texts) => {
                let texts: Vec<_> = texts.iter().filter_map(Value::as_str).collect();
                texts.join(",")
            }
            Value::String(text) => text,
            other => other.to_string(),
        };
        form["properties"][*name]["examples"] = json!([text]);
    }
    form
}

fn body<'a>(
    properties: impl Iterator<Item = (&'a str, Value)>,
    required: &[&str],
    about: &str,
    nothing: fn(&str) -> Option<&'static str>,
) -> Value {
    let described = properties.map(|(name, mut schema)| {
        let parts = [description(name), nothing(name)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        schema["description"] = json!(parts.join(" "));
        schema["examples"] = json!([example(name)]);
        (name.to_owned(), schema)
    });
    let properties: Map<_, _> = described.collect();
    json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Whether the document can say something about this field.
#[cfg(test)]
pub(in crate::http) fn is_described(name: &str) -> bool {
    description(name).is_some() && !example(name).is_null()
}
