//! `/api/v1/owners`

use actix_web::{HttpResponse, http::header::ContentType};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Request, query::Query};
use crate::{
    http::{
        page,
        problem::{ApiError, json_line},
    },
    links::Whose,
};

/// Those who have links.
#[derive(Serialize, ToSchema)]
pub(super) struct Owners<'a> {
    /// By name, those without one first.
    owners: Vec<LinkOwner<'a>>,
}

/// Somebody who has links.
#[derive(Serialize, ToSchema)]
struct LinkOwner<'a> {
    /// The name; `null` for links without an owner.
    #[schema(required = true, example = "anna")]
    name: Option<&'a str>,
    /// How many links belong to it.
    links: u64,
}

/// `GET`: who has links, and how many: all for an administrator, otherwise only the owner of the key.
#[utoipa::path(
    get,
    path = "/api/v1/owners",
    tag = "Owners",
    operation_id = "listOwners",
    summary = "List owners",
    description = "With the scope `admin` all of them, otherwise the owner of the key.",
    responses((status = 200, description = "Who has links, and how many", body = Owners)),
)]
pub(super) async fn list(request: Request<'_>) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let whose = Whose::from(&request.editor);
    let counts = request.state.links.owners(&whose).await?;
    let owners = counts.iter().map(|count| LinkOwner {
        name: count.owner.as_ref().map(|owner| owner.as_str()),
        links: count.links,
    });
    let owners = Owners {
        owners: owners.collect(),
    };
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&owners)))
}
