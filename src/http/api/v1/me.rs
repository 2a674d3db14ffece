//! `/api/v1/me`

use actix_web::{HttpResponse, http::header::ContentType};
use serde::Serialize;

use crate::{
    http::{AppState, page, problem::json_line},
    keys::{Scope, VerifiedKey},
};

#[derive(Serialize)]
struct Me<'a> {
    owner: &'a str,
    key: &'a str,
    scopes: Vec<&'static str>,
    /// `null` if nothing is limited.
    quota: Option<String>,
}

/// `GET`: whom the key acts for, and what it allows. Never the key itself.
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
