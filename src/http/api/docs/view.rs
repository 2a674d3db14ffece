//! What the page shows of the document.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The order in which the page shows the methods of a path.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Operations of one kind.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) about: Vec<Piece>,
    pub(super) operations: Vec<Operation>,
}

/// A part of a text: code, or not.
pub(super) struct Piece {
    pub(super) is_code: bool,
    pub(super) text: String,
}

pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) summary: String,
    pub(super) about: Vec<Piece>,
    pub(super) parameters: Vec<Field>,
    /// The media types of the body; empty if there is none.
    pub(super) body_types: Vec<String>,
    pub(super) body: Vec<Field>,
    /// A command for a shell.
    pub(super) curl: String,
    /// What an answer that is no error looks like.
    pub(super) example: Option<String>,
    pub(super) answers: Vec<Answer>,
}

/// A parameter of a request, or a field of its body.
pub(super) struct Field {
    pub(super) name: String,
    /// What its value is, in words.
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) about: Vec<Piece>,
}

pub(super) struct Answer {
    pub(super) status: String,
    pub(super) about: Vec<Piece>,
}

/// All operations of the document, in the groups that it names. URLs begin with `base`.
pub(super) fn groups(document: &Value, base: &str) -> Vec<Group> {
    let view = View { document, base };
    let tags = document["tags"].as_array().into_iter().flatten();
    tags.map(|tag| Group {
        name: text(&tag["name"]),
        about: pieces(&text(&tag["description"])),
        operations: view.operations(&tag["name"]),
    })
    .collect()
}

struct View<'a> {
    document: &'a Value,
    base: &'a str,
}

impl View<'_> {
    fn operations(&self, tag: &Value) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let all = paths.flat_map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item[**method].is_object());
            methods.map(move |method| (path, *method, &item[*method]))
        });
        all.filter(|(.., operation)| operation["tags"][0] == *tag)
            .map(|(path, method, operation)| self.operation(path, method, operation))
            .collect()
    }

    fn operation(&self, path: &str, method: &str, operation: &Value) -> Operation {
        let content = &operation["requestBody"]["content"];
        let types = members(content);
        let schema = self.resolved(&content["application/json"]["schema"]);
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let answers = members(&operation["responses"]);
        let mut successes = answers.iter().filter(|(status, _)| status.starts_with('2'));
        Operation {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            about: pieces(&text(&operation["description"])),
            parameters: parameters
                .map(|parameter| self.parameter(parameter))
                .collect(),
            body_types: types.keys().cloned().collect(),
            // Only there is it something else than to leave the field out.
            body: fields(schema, method == "patch"),
            curl: self.curl(path, method, operation, schema),
            example: successes.find_map(|(_, response)| {
                let schema = &self.resolved(response)["content"]["application/json"]["schema"];
                let example = (!schema.is_null()).then(|| self.example(schema))?;
                serde_json::to_string_pretty(&example).ok()
            }),
            answers: answers
                .iter()
                .map(|(status, response)| Answer {
                    status: status.clone(),
                    about: pieces(&text(&self.resolved(response)["description"])),
                })
                .collect(),
        }
    }

    fn parameter(&self, parameter: &Value) -> Field {
        let place = text(&parameter["in"]);
        let kind = kind(&parameter["schema"], false);
        Field {
            name: text(&parameter["name"]),
            kind: format!("{place}: {kind}"),
            is_required: parameter["required"] == true,
            about: pieces(&text(&parameter["description"])),
        }
    }

    /// A command that sends such a request, with the fields that it must have.
    fn curl(&self, path: &str, method: &str, operation: &Value, schema: &Value) -> String {
        let mut command = "curl".to_owned();
        let body = self.example_body(schema);
        // curl's own choice without a method.
        let implied = if body.is_some() { "post" } else { "get" };
        if method != implied {
            command += &format!(" -X {}", method.to_uppercase());
        }
        // An empty alternative means that it works without a key.
        if operation["security"][0] != json!({}) {
            command += " -H \"Authorization: Bearer $KEY\"";
        }
        if let Some(body) = body {
            command += &format!(" --json '{body}'");
        }
        let path = path
            .replace("{code}", "launch")
            .replace("{tag}", "spring")
            .replace("{other}", "spring-launch");
        command + &format!(" {}{}", self.base, path.replace("{name}", "phone"))
    }

    /// The fields that a body must have; if none, one that it may have. `None` if there is no body.
    fn example_body(&self, schema: &Value) -> Option<Value> {
        let properties = schema["properties"].as_object()?;
        let required = schema["required"].as_array().into_iter().flatten();
        let mut names: Vec<_> = required.filter_map(Value::as_str).collect();
        if names.is_empty() {
            names.push("title");
        }
        let chosen = names
            .iter()
            .filter_map(|name| properties.get_key_value(*name));
        let body = chosen.map(|(name, schema)| (name.clone(), self.example(schema)));
        Some(Value::Object(body.collect()))
    }

    /// A value that fits a schema.
    fn example(&self, schema: &Value) -> Value {
        let schema = self.resolved(schema);
        if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
            return example.clone();
        }
        if let Some(first) = schema["anyOf"].get(0) {
            return self.example(first);
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        if let Some(properties) = schema["properties"].as_object() {
            let members = properties.iter();
            let members = members.map(|(name, schema)| (name.clone(), self.example(schema)));
            return Value::Object(members.collect());
        }
        match types(schema).as_slice() {
            [.., "null"] => Value::Null,
            ["array", ..] => {
                let items = &schema["items"];
                let one = (!types(items).contains(&"string") || items["enum"].is_array())
                    .then(|| self.example(items));
                Value::Array(one.into_iter().collect())
            }
            ["boolean", ..] => json!(false),
            ["integer", ..] => json!(0),
            _ => json!(""),
        }
    }

    /// What a reference within the document leads to.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"]
            .as_str()
            .and_then(|text| text.strip_prefix('#'));
        let target = pointer.and_then(|pointer| self.document.pointer(pointer));
        target.unwrap_or(value)
    }
}

/// The fields of an object, those that it must have first.
/// `with_null` says whether `null` is a value like others.
fn fields(schema: &Value, with_null: bool) -> Vec<Field> {
    let required = &schema["required"];
    let is_required = |name: &String| {
        let names = required.as_array().into_iter().flatten();
        names.filter_map(Value::as_str).any(|other| other == name)
    };
    let properties = members(&schema["properties"]).iter();
    let mut fields: Vec<_> = properties
        .map(|(name, schema)| Field {
            name: name.clone(),
            kind: kind(schema, with_null),
            is_required: is_required(name),
            about: pieces(&text(&schema["description"])),
        })
        .collect();
    fields.sort_by_key(|field| !field.is_required);
    fields
}

/// What a value is, in words: `integer or string, 4 to 32`.
fn kind(schema: &Value, with_null: bool) -> String {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let all = alternatives.chain([schema]).flat_map(types);
    let mut names: Vec<_> = all.filter(|name| with_null || *name != "null").collect();
    names.dedup();
    let mut kind = names.join(" or ");
    if let Some(format) = schema["format"].as_str() {
        kind += &format!(", {format}");
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        kind += &format!(", {least} to {most}");
    }
    kind
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A text of the document, in which code stands between backticks.
fn pieces(text: &str) -> Vec<Piece> {
    let parts = text.split('`').enumerate();
    let pieces = parts.map(|(index, part)| Piece {
        is_code: index % 2 == 1,
        text: part.to_owned(),
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn members(value: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi_document;

    #[test]
    fn every_operation_is_shown_once_with_a_command_and_an_answer() {
        let groups = groups(openapi_document(), "https://sho.rt");
        let shown: Vec<_> = groups.iter().flat_map(|group| &group.operations).collect();
        let paths = members(&openapi_document()["paths"]).values();
        let all: usize = paths.map(|item| members(item).len()).sum();
        assert_eq!(shown.len(), all);
        for operation in &shown {
            let is_empty = operation
                .answers
                .iter()
                .any(|answer| answer.status == "204");
            assert_eq!(operation.example.is_none(), is_empty, "{}", operation.id);
            assert!(!operation.curl.contains('{') || operation.curl.contains("--json '{\""));
            assert!(operation.answers.len() > 4, "{}", operation.id);
        }
        let find = |id: &str| shown.iter().find(|operation| operation.id == id);
        let change = find("changeLink").expect("it is shown");
        assert_eq!(
            change.curl,
            "curl -X PATCH -H \"Authorization: Bearer $KEY\" --json '{\"title\":\"The launch\"}' \
             https://sho.rt/api/v1/links/launch"
        );
        let title = change.body.iter().find(|field| field.name == "title");
        assert_eq!(title.expect("it is shown").kind, "string or null");
        let shorten = find("shorten").expect("it is shown");
        assert_eq!(
            shorten.curl,
            "curl --json '{\"url\":\"https://example.com/a/long/path\"}' https://sho.rt/shorten"
        );
        let url = &shorten.body[0];
        assert_eq!((url.name.as_str(), url.is_required), ("url", true));
        let length = shorten
            .body
            .iter()
            .find(|field| field.name == "code_length");
        assert_eq!(
            length.expect("it is shown").kind,
            "integer or string, 4 to 32"
        );
    }

    #[test]
    fn code_in_a_text_stands_between_backticks() {
        let pieces = pieces("`a` and `b`.");
        let pairs: Vec<_> = pieces
            .iter()
            .map(|p| (p.is_code, p.text.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [(true, "a"), (false, " and "), (true, "b"), (false, ".")]
        );
    }
}
