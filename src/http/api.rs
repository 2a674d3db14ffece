//! `/api/…`: how programs manage links and API keys.
//!
//! | file | what it holds |
//! |---|---|
//! | `v1` | the paths of version 1: what each is, which methods it has, and which scope these need |
//! | `v1/links`, `v1/list`, `v1/bulk`, `v1/link`, `v1/codes`, `v1/tags`, `v1/owners`, `v1/keys`, `v1/me` | the handlers, one file for each resource; `GET` of links is `v1/list` |
//! | `v1/query` | the parameters of a query |
//! | `v1/change` | the fields of a `PATCH` |
//! | `v1/operations` | what the document says of each of them |
//! | `openapi` | the document: OpenAPI 3.1 |
//! | `docs` | the same for people: a page |
//! | `representation` | a link as JSON |
//! | `extended` | the place and the time of a request that may be larger and take longer than others |
//! | `held` | an answer that holds its place until the client has taken it |
//! | `conditions` | `ETag`, `If-Match`, `If-None-Match` |

mod conditions;
mod docs;
mod extended;
mod held;
mod openapi;
mod representation;
mod v1;

pub use openapi::document as openapi_document;
pub(super) use representation::timestamp;

use actix_web::{HttpResponse, dev::Payload};

use super::{
    AppState,
    edge::{RequestContext, discard_body, segments_below_api},
    problem::ApiError,
};

/// Answers a request for any path below `/api/`, with any method.
pub(super) async fn answer(
    state: &AppState,
    context: &RequestContext,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let segments = segments_below_api(context.path());
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let known = match &segments[..] {
        ["v1", rest @ ..] => v1::find(context, rest),
        ["openapi.json"] => {
            discard_body(context, payload).await;
            return openapi::answer(state, context);
        }
        ["docs"] => {
            discard_body(context, payload).await;
            return docs::answer(state, context);
        }
        _ => Err(ApiError::NotFound),
    };
    match known {
        Ok((resource, key)) => v1::answer(state, context, key, resource, payload).await,
        Err(error) => {
            discard_body(context, payload).await;
            Err(error)
        }
    }
}
