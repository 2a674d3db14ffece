//! `/api/openapi.json`: what the API is, for programs (OpenAPI 3.1).
//!
//! The parts of the document stand beside the code that they are about: operations beside their handlers, schemas on
//! the types of answers, fields of bodies beside what reads them. This file puts them together, and adds what many
//! operations have in common: errors, headers, and the keys that they need. The tests hold every answer that they get
//! against the document.

mod common;

use std::sync::{LazyLock, Mutex, PoisonError};

use actix_web::{
    HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, ContentType, HeaderValue},
    },
    web::Bytes,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{conditions::is_known, representation::base, v1};
use crate::http::{AppState, edge::RequestContext, page, problem::ApiError};

/// What the document and its readable form can be asked with.
pub(super) const METHODS: &[Method] = &[Method::GET, Method::HEAD];

const INTRODUCTION: &str = "\
A self-hosted URL shortener. This API makes and manages short links, and the keys that programs use.

Every request below `/api/v1` needs an API key, as `Authorization: Bearer <key>` or as `X-Api-Key: <key>`. `GET` stands \
for `HEAD`, too. Errors are problem documents (RFC 9457): `error` is a short sentence.";

static LAST: Last = Last::new();

static DOCUMENT: LazyLock<Value> = LazyLock::new(assemble);

/// The document, without the address of a server.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// Puts the parts together.
fn assemble() -> Value {
    // Plain structures of strings and numbers always serialize.
    let mut document = serde_json::to_value(v1::operations()).unwrap_or_default();
    document["info"] = json!({
        "title": "Shunt",
        // That of the API, which stays the same over releases of the program.
        "version": "1",
        "description": INTRODUCTION,
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    for (name, schema) in v1::bodies() {
        document["components"]["schemas"][name] = schema;
    }
    common::complete(&mut document, v1::scope_of);
    document
}

/// `GET`: the document, with the address that the client came to. It needs no key: it says nothing that the source does
/// not say.
pub(super) fn answer(state: &AppState, context: &RequestContext) -> Result<HttpResponse, ApiError> {
    if !METHODS.contains(context.method()) {
        return Err(ApiError::MethodNotAllowed { allowed: METHODS });
    }
    let server = server(state, context)?;
    let rendered = LAST.of(&server, || {
        let mut document = document().clone();
        document["servers"] = json!([{ "url": server }]);
        Ok(document.to_string() + "\n")
    })?;
    Ok(unless_known(context, ContentType::json(), &rendered))
}

/// What was rendered last, and for which address: nearly all clients come to the same.
pub(super) struct Last(Mutex<Option<(String, Rendered)>>);

/// A text and its entity tag.
#[derive(Clone)]
pub(super) struct Rendered {
    text: Bytes,
    tag: HeaderValue,
}

impl Last {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The text for this address.
    ///
    /// # Errors
    /// What `render` fails with.
    pub(super) fn of(
        &self,
        address: &str,
        render: impl FnOnce() -> Result<String, ApiError>,
    ) -> Result<Rendered, ApiError> {
        // Whoever panicked has changed nothing.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, rendered)) = &*lock()
            && known == address
        {
            return Ok(rendered.clone());
        }
        let text = render()?;
        let digest = hex::encode(&Sha256::digest(&text)[..16]);
        let tag = HeaderValue::from_str(&format!("\"{digest}\""));
        let rendered = Rendered {
            text: text.into(),
            // Hexadecimal digits are always a valid value.
            tag: tag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        };
        *lock() = Some((address.to_owned(), rendered.clone()));
        Ok(rendered)
    }
}

/// What URLs of the API begin with: what the client came to, or if it did not say, what short links begin with.
pub(super) fn server(state: &AppState, context: &RequestContext) -> Result<String, ApiError> {
    Ok(match context.origin()? {
        Some(origin) => origin.to_string(),
        None => base(state, context)?.to_string(),
    })
}

/// An answer with an entity tag, or 304 if the client has it already.
pub(super) fn unless_known(
    context: &RequestContext,
    kind: ContentType,
    Rendered { text, tag }: &Rendered,
) -> HttpResponse {
    let mut response = page::not_to_be_served_again();
    response.insert_header((header::ETAG, tag.clone()));
    if is_known(context.headers(), tag) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    response.content_type(kind).body(text.clone())
}
