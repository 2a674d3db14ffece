//! What many operations have in common: errors, headers, the keys that they need, and what can be done next.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use crate::{http::problem::Problem, keys::Scope};

/// `(name, what it says)`, for the headers that every answer has.
const HEADERS: [(&str, &str); 6] = [
    (
        "X-Request-Id",
        "The request in the log of the service; the client's own, if it sent one",
    ),
    (
        "RateLimit-Policy",
        "The quotas that count this request, if any does",
    ),
    (
        "RateLimit",
        "What is left of them, and in how many seconds it is more",
    ),
    (
        "X-RateLimit-Limit",
        "The quota that is nearest to its end: its requests",
    ),
    ("X-RateLimit-Remaining", "What is left of it"),
    ("X-RateLimit-Reset", "Seconds until it is more"),
];

/// `(component, status, when, headers beside the common ones)`
type Refusal = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const RETRY_AFTER: (&str, &str) = (
    "Retry-After",
    "Seconds after which another request makes sense",
);
const CHALLENGE: (&str, &str) = ("WWW-Authenticate", "How to send a key (RFC 6750)");

/// What any operation may be answered with.
const ANY: [Refusal; 3] = [
    (
        "Malformed",
        "400",
        "The request cannot be read, or a field or a parameter is unknown or of the wrong type",
        &[],
    ),
    (
        "OverQuota",
        "429",
        "The key, or the address without a valid key, is over its quota",
        &[RETRY_AFTER],
    ),
    (
        "Unavailable",
        "503",
        "A dependency does not answer. If the request changes something, the change may be stored or not",
        &[RETRY_AFTER],
    ),
];

/// What an operation may be answered with that may be sent a key.
const WITH_KEY: [Refusal; 2] = [
    (
        "KeyNeeded",
        "401",
        "There is no key, or it is not valid",
        &[CHALLENGE],
    ),
    (
        "ScopeMissing",
        "403",
        "The key has not the scope that this needs",
        &[CHALLENGE],
    ),
];

/// What an operation may be answered with that has a body.
const WITH_BODY: [Refusal; 3] = [
    ("TooSlow", "408", "The body takes too long to arrive", &[]),
    ("TooLarge", "413", "The body is over 32 KiB", &[]),
    (
        "UnsupportedMediaType",
        "415",
        "The body is not of a type that is listed here, or is compressed",
        &[("Accept-Encoding", "`identity`, if the body is compressed")],
    ),
];

/// Adds it to a document. `scope_of` says which scope an operation at a path needs; its outer `None` is for operations
/// that need no key.
pub(super) fn complete(document: &mut Value, scope_of: fn(&str, &str) -> Option<Option<Scope>>) {
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`" },
        "header": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "`X-Api-Key: <key>`" },
    });
    let problem = serde_json::to_value(Problem::schema()).unwrap_or_default();
    components["schemas"]["Problem"] = problem;
    for (name, about) in HEADERS {
        components["headers"][name] = header(about);
    }
    let refusals = ANY.iter().chain(&WITH_KEY).chain(&WITH_BODY);
    for (name, _, when, headers) in refusals {
        components["responses"][name] = refusal(when, headers, false);
    }
    for (path, method, operation) in operations(document) {
        complete_operation(operation, scope_of(path, method));
    }
    add_links(document);
}

/// All operations, each with its path and its method.
fn operations(document: &mut Value) -> impl Iterator<Item = (&String, &String, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(move |(method, operation)| (path, method, operation))
    })
}

/// `(schema of an answer, variable of a path, where the answer has it)`
const VARIABLES: [(&str, &str, &str); 6] = [
    ("Link", "code", "/code"),
    ("Link", "other", "/further_codes/0"),
    ("KnownLink", "code", "/code"),
    ("Key", "name", "/name"),
    ("FreshKey", "name", "/key/name"),
    ("KeyList", "name", "/keys/0/name"),
];

/// Says which operations concern what an answer shows, and how to ask for them.
fn add_links(document: &mut Value) {
    let all: Vec<_> = operations(document)
        .map(|(path, _, operation)| (path.clone(), operation["operationId"].clone()))
        .collect();
    let mut links = Map::new();
    for (.., operation) in operations(document) {
        let responses = operation["responses"].as_object_mut().into_iter().flatten();
        for (_, response) in responses {
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            let shown = schema.as_str().and_then(|text| text.rsplit('/').next());
            let Some(shown) = shown.map(str::to_owned) else {
                continue;
            };
            let known = VARIABLES.iter().filter(|(schema, ..)| *schema == shown);
            let known: Vec<_> = known.map(|(_, name, place)| (*name, *place)).collect();
            for (path, id) in &all {
                let Some((parameters, id)) = parameters(path, &known).zip(id.as_str()) else {
                    continue;
                };
                let name = format!("{id}Of{shown}");
                response["links"][id] = json!({ "$ref": format!("#/components/links/{name}") });
                links.insert(name, json!({ "operationId": id, "parameters": parameters }));
            }
        }
    }
    document["components"]["links"] = Value::Object(links);
}

/// The variables of a path, if it has any and all are known.
fn parameters(path: &str, known: &[(&str, &str)]) -> Option<Map<String, Value>> {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let pairs = names.map(|name| {
        let (_, place) = known.iter().find(|(other, _)| *other == name)?;
        Some((name.to_owned(), json!(format!("$response.body#{place}"))))
    });
    let parameters: Map<_, _> = pairs.collect::<Option<_>>()?;
    (!parameters.is_empty()).then_some(parameters)
}

fn complete_operation(operation: &mut Value, scope: Option<Option<Scope>>) {
    operation["security"] = match scope {
        Some(scope) => {
            let scopes: Vec<_> = scope.iter().map(|scope| scope.name()).collect();
            json!([{ "bearer": scopes }, { "header": scopes }])
        }
        None => json!([{}, { "bearer": [] }, { "header": [] }]),
    };
    let needed = match scope {
        Some(Some(scope)) => format!("Needs a key with the scope `{scope}`."),
        Some(None) => "Needs a key with any scope.".to_owned(),
        None => String::new(),
    };
    let about = operation["description"].as_str().unwrap_or_default();
    operation["description"] = json!(format!("{about} {needed}").trim());
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    parameters
        .into_iter()
        .flatten()
        .for_each(complete_parameter);
    let has_body = !operation["requestBody"].is_null();
    if has_body {
        operation["requestBody"]["required"] = json!(true);
    }
    // Browsers get pages, but not from the API.
    let has_pages = scope.is_none();
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses.iter_mut() {
        let is_error = status.starts_with(['4', '5']);
        if is_error && response["content"].is_null() {
            response["content"] = errors(has_pages);
        }
        for (_, header) in response["headers"].as_object_mut().into_iter().flatten() {
            require(header);
        }
        add_common_headers(response);
    }
    let with_body = WITH_BODY.iter().filter(|_| has_body);
    for (name, status, when, headers) in ANY.iter().chain(&WITH_KEY).chain(with_body) {
        let refusal = match has_pages {
            true => refusal(when, headers, true),
            false => json!({ "$ref": format!("#/components/responses/{name}") }),
        };
        responses.entry(*status).or_insert(refusal);
    }
}

/// A parameter may be left out, but is never `null`. One in the path has the form of what it names.
fn complete_parameter(parameter: &mut Value) {
    let pattern = match parameter["name"].as_str() {
        Some("code" | "other") => Some("^[A-Za-z0-9_-]{1,64}$"),
        Some("name") => Some("^[A-Za-z0-9._-]{1,64}$"),
        Some("tag") => Some("^[^/]+$"),
        _ => None,
    };
    if let (Some("path"), Some(pattern)) = (parameter["in"].as_str(), pattern) {
        parameter["schema"]["pattern"] = json!(pattern);
    }
    if parameter["name"] == "all" {
        // `?all` is enough.
        parameter["schema"] = json!({ "type": "string", "enum": ["true", "false", ""] });
    }
    if let Some([kind, _]) = parameter["schema"]["type"].as_array().map(Vec::as_slice) {
        parameter["schema"]["type"] = kind.clone();
    }
}

fn refusal(when: &str, headers: &[(&str, &str)], has_pages: bool) -> Value {
    let own = headers.iter().map(|(name, about)| {
        let mut header = header(about);
        require(&mut header);
        ((*name).to_owned(), header)
    });
    let own: Map<_, _> = own.collect();
    let content = errors(has_pages);
    let mut response = json!({ "description": when, "headers": own, "content": content });
    add_common_headers(&mut response);
    response
}

fn add_common_headers(response: &mut Value) {
    for (name, _) in HEADERS {
        response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

fn header(about: &str) -> Value {
    json!({ "description": about, "schema": { "type": "string" } })
}

/// Says that every such answer has a header, unless its description names a condition.
fn require(header: &mut Value) {
    let about = header["description"].as_str().unwrap_or_default();
    header["required"] = json!(!about.contains(" if "));
}

fn errors(has_pages: bool) -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let mut content = json!({ "application/problem+json": problem });
    if has_pages {
        content["text/html"] = json!({ "schema": { "type": "string" } });
    }
    content
}
