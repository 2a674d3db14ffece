//! `/api/v1/tags`

use actix_web::{HttpResponse, dev::Payload, http::header::ContentType};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Request, query::Query};
use crate::{
    http::{
        fields::{Member, given, malformed, read_json_members, shortened, text, unacceptable},
        page,
        problem::{ApiError, json_line},
    },
    links::{Retag, Retagged, TagCount, Tags},
};

/// How many tags an answer has if nothing else is asked for, and at most.
const MOST: usize = 1_000;

/// Some tags.
#[derive(Serialize, ToSchema)]
pub(super) struct TagPage<'a> {
    /// By name.
    tags: Vec<Tag<'a>>,
    /// The last of these tags, for `after`; `null` if no tags come after it.
    #[schema(required = true)]
    next: Option<&'a str>,
}

/// A tag that links have.
#[derive(Serialize, ToSchema)]
struct Tag<'a> {
    /// The tag itself.
    #[schema(example = "spring")]
    name: &'a str,
    /// How many links have it.
    links: u64,
}

/// What became of a tag.
#[derive(Serialize, ToSchema)]
pub(super) struct RetaggedLinks {
    /// How many links were changed.
    links: u64,
    /// `false` if there are more: then the same request goes on.
    done: bool,
}

/// `GET`: the tags by name, and how many links have each.
#[utoipa::path(
    get,
    path = "/api/v1/tags",
    tag = "Tags",
    operation_id = "listTags",
    summary = "List tags",
    description = "By name, each with the number of links that have it.",
    params(
        ("owner" = Option<String>, Query, description = "Only of links of this owner; if empty, of nobody"),
        ("after" = Option<String>, Query, description = "Only tags after this one"),
        ("limit" = Option<u32>, Query, description = "How many at most", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "The tags", body = TagPage),
        (status = 400, description = "A parameter is unknown, repeated or wrong. `error` names it"),
    ),
)]
pub(super) async fn list(request: Request<'_>) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["owner", "after", "limit"])?;
    let whose = query.whose(&request.editor)?;
    let limit = query.limit(MOST, MOST)?;
    let after = query.text("after").unwrap_or_default();
    if after.contains('\0') {
        return Err(malformed("`after`: a tag has no control characters"));
    }
    let links = &request.state.links;
    // One more than the page has says that there is a next page.
    let mut tags = links.tags(&whose, after, limit as u32 + 1).await?;
    let has_more = tags.len() > limit;
    tags.truncate(limit);
    let next = tags.last().filter(|_| has_more);
    let page = TagPage {
        next: next.map(|last| last.tag.as_str()),
        tags: tags.iter().map(Tag::from).collect(),
    };
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&page)))
}

impl<'a> From<&'a TagCount> for Tag<'a> {
    fn from(count: &'a TagCount) -> Self {
        Self {
            name: &count.tag,
            links: count.links,
        }
    }
}

/// The schema of a change of a tag.
pub(super) fn change() -> Value {
    json!({
        "type": "object",
        "description": "The new name of a tag.",
        "required": ["name"],
        "additionalProperties": false,
        "properties": { "name": {
            "type": "string",
            "pattern": "\\S",
            "description": "The new name: at most 50 characters without a comma.",
            "examples": ["spring 2027"],
        } },
    })
}

/// `PATCH …/{tag}`: gives a tag another name. If links have a tag of that name already, the two become one.
#[utoipa::path(
    patch,
    path = "/api/v1/tags/{tag}",
    tag = "Tags",
    operation_id = "renameTag",
    summary = "Rename a tag",
    description = "If links have a tag of the new name already, the two become one.",
    params(
        ("tag" = String, Path, description = "The tag"),
        ("owner" = Option<String>, Query, description = "Only of links of this owner; if empty, of nobody"),
    ),
    request_body(content((ref("#/components/schemas/TagChange") = "application/json"))),
    responses(
        (status = 200, description = "The links are changed, or some of them. There may have been none", body = RetaggedLinks),
        (status = 400, description = "A parameter is unknown, repeated or wrong, or the body cannot be read"),
        (status = 404, description = "No link can have that tag"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    ),
)]
pub(super) async fn rename(
    request: Request<'_>,
    tag: String,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let instead = read_json_members(context, payload, state.request_timeout, read).await?;
    request.confirm().await?;
    retag(request, tag, instead).await
}

/// `DELETE …/{tag}`: takes a tag away from all links.
#[utoipa::path(
    delete,
    path = "/api/v1/tags/{tag}",
    tag = "Tags",
    operation_id = "removeTag",
    summary = "Remove a tag",
    description = "From all links that have it.",
    params(
        ("tag" = String, Path, description = "The tag"),
        ("owner" = Option<String>, Query, description = "Only of links of this owner; if empty, of nobody"),
    ),
    responses(
        (status = 200, description = "The links are changed, or some of them. There may have been none", body = RetaggedLinks),
        (status = 400, description = "A parameter is unknown, repeated or wrong. `error` names it"),
        (status = 404, description = "No link can have that tag"),
    ),
)]
pub(super) async fn remove(request: Request<'_>, tag: String) -> Result<HttpResponse, ApiError> {
    retag(request, tag, Tags::default()).await
}

async fn retag(request: Request<'_>, tag: String, instead: Tags) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["owner"])?;
    let whose = query.whose(&request.editor)?;
    let is_same = instead.as_slice() == [tag.as_str()];
    let retag = Retag {
        whose,
        tag,
        instead,
    };
    let done = match is_same {
        true => Retagged {
            links: 0,
            is_done: true,
        },
        false => request.state.links.retag(&retag).await?,
    };
    let changed = RetaggedLinks {
        links: done.links,
        done: done.is_done,
    };
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&changed)))
}

/// The new name.
fn read(members: &mut dyn Iterator<Item = Member>) -> Result<Tags, ApiError> {
    let mut name = None;
    for (field, value) in members {
        if field != "name" {
            let field = shortened(&field);
            return Err(malformed(format!("Unknown field `{field}`")));
        }
        if name.is_some() {
            return Err(malformed("The field `name` is repeated"));
        }
        name = text("name", value)?;
    }
    let name = given(name).ok_or_else(|| malformed("The field `name` is missing"))?;
    Tags::parse([name.as_str()]).map_err(|error| unacceptable("name", error))
}
