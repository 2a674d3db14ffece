//! `/api/v1/me`

use actix_web::{HttpResponse, http::header::ContentType};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{Array, ArrayBuilder, ObjectBuilder, Type},
};

use crate::{
    http::{AppState, page, problem::json_line},
    keys::{Scope, VerifiedKey},
};

/// Whom a key acts for, and what it allows.
#[derive(Serialize, ToSchema)]
struct Me<'a> {
    /// Whom it acts for.
    #[schema(example = "anna")]
    owner: &'a str,
    /// What the key is called.
    #[schema(example = "script")]
    key: &'a str,
    #[schema(schema_with = scopes)]
    scopes: Vec<&'static str>,
    /// How many requests it may make; `null` if nothing is limited.
    #[schema(required = true, example = "600/minute")]
    quota: Option<String>,
}

/// The scopes of a key. None only if it has nothing but scopes that a later release knows.
pub(super) fn scopes() -> Array {
    let one = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Scope::ALL.map(Scope::name)));
    ArrayBuilder::new()
        .items(one)
        .description(Some("What the key allows"))
        .build()
}

/// `GET`: whom the key acts for, and what it allows. Never the key itself.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "Keys",
    operation_id = "showMe",
    summary = "Show whose key this is",
    responses((status = 200, description = "Whom the key acts for, and what it allows", body = Me)),
)]
pub(super) fn show(state: &AppState, key: &VerifiedKey) -> HttpResponse {
    let quota = state.rate_limit.as_ref();
    let me = Me {
        owner: key.owner.as_str(),
        key: key.name.as_str(),
        scopes: key.scopes.iter().map(Scope::name).collect(),
        quota: quota.map(|limit| limit.quota_of(key).to_string()),
    };
    page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&me))
}
