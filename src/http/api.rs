//! `/api/…`: how programs manage links.
//!
//! | file | what it holds |
//! |---|---|
//! | `v1` | the paths of version 1: what each is, which methods it has, and which scope these need |
//! | `v1/links`, `v1/link`, `v1/codes`, `v1/me` | the handlers, one file for each resource |
//! | `v1/change` | the fields of a `PATCH` |
//! | `representation` | a link as JSON |
//! | `conditions` | `ETag`, `If-Match`, `If-None-Match` |

mod conditions;
mod representation;
mod v1;

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
