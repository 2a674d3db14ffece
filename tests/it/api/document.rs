//! Holds every answer that a test gets from the API against the document of the API: `/api/openapi.json`.

use std::sync::LazyLock;

use reqwest::{Body, Method, Request};
use serde_json::{Map, Value, json};
use shunt::http::openapi_document;
use testkit::Answer;

/// Headers that mean something to a client, and must be in the document.
const TOLD: [&str; 12] = [
    "accept-encoding",
    "etag",
    "link",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
];

/// The schemas, stricter than they are published: an object has no member that is not in its schema.
static STRICT_SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = openapi_document()["components"]["schemas"].clone();
    forbid_others(&mut schemas);
    schemas
});

fn forbid_others(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("properties").is_some_and(Value::is_object) {
            object.entry("additionalProperties").or_insert(json!(false));
        }
        object.values_mut().for_each(forbid_others);
    } else if let Some(values) = schema.as_array_mut() {
        values.iter_mut().for_each(forbid_others);
    }
}

/// # Panics
/// If the answer is of the API, and not what its document says; or if a request was accepted that the document rules out.
pub(crate) fn assert_documented(request: &Request, answer: &Answer) {
    let (method, path) = (request.method(), request.url().path());
    if *method == Method::OPTIONS || !(path.starts_with("/api/v1/") || path == "/shorten") {
        return;
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let what = format!("{method} {path}: {answer:?}");
    let Some(operation) = operation(method, path) else {
        // Browsers are shown a page, with the form.
        if path.trim_end_matches('/') == "/shorten" && kind == "text/html" {
            return;
        }
        assert!(
            answer.status.is_client_error(),
            "not in the document: {what}"
        );
        assert_schema("Problem", answer, &what);
        return;
    };
    let status = answer.status.as_str();
    let response = &resolved(&operation["responses"][status]);
    assert!(
        response.is_object(),
        "a status that is not in the document: {what}"
    );
    let names: Vec<_> = members(&response["headers"])
        .keys()
        .map(|name| name.to_lowercase())
        .collect();
    for name in TOLD
        .iter()
        .filter(|name| answer.headers.contains_key(**name))
    {
        let is_told = names.iter().any(|other| other == name);
        assert!(is_told, "{name} is not in the document: {what}");
    }
    for (name, header) in members(&response["headers"]) {
        let is_there = answer.header(&name.to_lowercase()).is_some();
        assert!(
            is_there || resolved(header)["required"] != true,
            "{name} is missing: {what}"
        );
    }
    assert!(answer.header("x-request-id").is_some(), "{what}");
    if answer.status.is_success() {
        assert_request(request, operation, answer, &what);
    }
    let content = members(&response["content"]);
    if content.is_empty() {
        assert_eq!(answer.body, "", "{what}");
        return;
    }
    let schema = &content.get(kind);
    let schema = schema.unwrap_or_else(|| panic!("a type that is not in the document: {what}"));
    // A page for browsers has no schema.
    if *method == Method::HEAD || kind == "text/html" {
        return;
    }
    let reference = schema["schema"]["$ref"].as_str().expect("a reference");
    let name = reference.rsplit('/').next().expect("a name");
    assert_schema(name, answer, &what);
}

fn assert_schema(name: &str, answer: &Answer, what: &str) {
    if answer.body.is_empty() && what.starts_with("HEAD") {
        return;
    }
    let body = answer.json();
    let published = &openapi_document()["components"]["schemas"];
    for schemas in [published, &STRICT_SCHEMAS] {
        assert_fits(name, schemas, &body, what);
    }
}

fn assert_fits(name: &str, schemas: &Value, value: &Value, what: &str) {
    let reference = format!("#/components/schemas/{name}");
    let schema = json!({ "$ref": reference, "components": { "schemas": schemas } });
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|error| panic!("{name} is no schema: {error}"));
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}: {what}");
}

/// The body of a request that was accepted is one that the document allows.
fn assert_request(request: &Request, operation: &Value, answer: &Answer, what: &str) {
    let Some(bytes) = request.body().and_then(Body::as_bytes) else {
        return;
    };
    let kind = request.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let kind = &*kind.to_lowercase();
    let schema = &operation["requestBody"]["content"][kind]["schema"]["$ref"];
    let Some(reference) = schema.as_str() else {
        // What has no body reads none.
        assert!(operation["requestBody"].is_null(), "{kind}: {what}");
        return;
    };
    let mut body: Value = match kind {
        "application/x-www-form-urlencoded" => {
            let fields = url::form_urlencoded::parse(bytes);
            fields.map(|(name, value)| (name, json!(value))).collect()
        }
        _ => {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            serde_json::from_str(text.trim_start_matches('\u{feff}')).expect("JSON")
        }
    };
    let name = reference.rsplit('/').next().expect("a name");
    if name == "NewLinks" {
        // Of many links, some may be refused.
        let results = answer.json()["results"].clone();
        let mut accepted = (0..).map(|index: usize| results[index]["status"].as_u64() < Some(300));
        let links = body["links"].as_array_mut().expect("links");
        links.retain(|_| accepted.next() == Some(true));
        if links.is_empty() {
            return;
        }
    }
    let schemas = &openapi_document()["components"]["schemas"];
    assert_fits(name, schemas, &body, &format!("{body}: {what}"));
}

/// What the document says of a request with this method to this path. Of two templates, the one with fewer variables.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let paths = members(&openapi_document()["paths"]).iter();
    let is_variable = |segment: &str| segment.starts_with('{');
    let matches = paths.filter(|(template, _)| {
        let template: Vec<_> = template.split('/').collect();
        let mut pairs = template.iter().zip(&segments);
        template.len() == segments.len()
            && pairs.all(|(one, other)| one == other || is_variable(one))
    });
    let method = match *method {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let name = method.as_str().to_lowercase();
    let operations = matches.filter_map(|(template, item)| Some((template, item.get(&name)?)));
    let (_, operation) = operations.min_by_key(|(template, _)| template.matches('{').count())?;
    Some(operation)
}

/// What a reference within the document leads to.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("within the document");
            let target = openapi_document().pointer(pointer);
            target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

fn members(value: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}
