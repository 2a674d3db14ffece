//! `/api/v1/keys`
//!
//! A key must not make itself, or another, more powerful. So all of this needs the scope `admin`, which is everything
//! already.
//!
//! | file | what it holds |
//! |---|---|
//! | `body` | the fields of a key that is to be made |
//! | `query` | the parameters of the list, and of what is done to a key |

mod body;
mod query;

use std::time::SystemTime;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, ContentType, HeaderValue},
    },
};
use humantime::format_rfc3339_seconds;
use serde::Serialize;
use tracing::info;
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

pub(super) use self::body::FIELDS;

use super::{Request, me::scopes};
use crate::{
    http::{
        fields::read_query,
        page,
        problem::{ApiError, json_line},
    },
    keys::{ApiKey, KeyName, KeyRecord, KeyRef, KeyState, Scope},
};

/// How many keys a list has if nothing is said.
const USUAL_LENGTH: u32 = 100;

/// What may be shown of a key: never the key itself, nor its hash.
#[derive(Serialize, ToSchema)]
struct Key<'a> {
    /// Its number. It stays the same when the key is rotated, and no other key ever has it.
    id: i64,
    /// What it is called. Of keys that are not revoked, no two have the same name.
    #[schema(example = "phone")]
    name: &'a str,
    /// Whom it acts for.
    #[schema(example = "anna")]
    owner: &'a str,
    #[schema(schema_with = scopes)]
    scopes: Vec<&'static str>,
    /// How many requests it may make; `null` if as many as every key.
    #[schema(required = true, example = "600/minute")]
    quota: Option<String>,
    /// When it was made, in UTC.
    #[schema(format = DateTime, example = "2026-11-28T11:55:39Z")]
    created_at: String,
    /// When it stops working, in UTC; `null` if never.
    #[schema(required = true, format = DateTime)]
    expires_at: Option<String>,
    #[schema(schema_with = key_states)]
    state: String,
}

fn key_states() -> Object {
    let states = [KeyState::Working, KeyState::Expired, KeyState::Revoked];
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(states.map(|state| state.to_string())))
        .description(Some("Whether it works"))
        .build()
}

/// The keys that were asked for, in the order of their names.
#[derive(Serialize, ToSchema)]
struct KeyList<'a> {
    /// The keys.
    keys: Vec<Key<'a>>,
    /// The `cursor` of the next page; `null` on the last one.
    #[schema(required = true, example = "12-phone")]
    next: Option<String>,
}

/// A key that was made or rotated. This is the only time that it is shown.
#[derive(Serialize, ToSchema)]
struct FreshKey<'a> {
    /// The key itself, to be sent with requests. Only its hash is stored.
    #[schema(example = "shunt_0000000000000000000000000000000000000")]
    secret: &'a str,
    /// What is shown of it later.
    key: Key<'a>,
}

impl<'a> Key<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        let written = |at: SystemTime| format_rfc3339_seconds(at).to_string();
        Self {
            id: record.id.0,
            name: record.name.as_str(),
            owner: record.owner.as_str(),
            scopes: record.scopes.iter().map(Scope::name).collect(),
            quota: record.quota.map(|quota| quota.to_string()),
            created_at: written(record.created_at),
            expires_at: record.expires_at.map(written),
            state: record.state.to_string(),
        }
    }
}

/// `GET`: the keys that work, of all owners or of one; with `all` also those that do not.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    tag = "Keys",
    operation_id = "listKeys",
    summary = "List keys",
    description = "Those that work, in the order of their names. Never a key itself. \
        With the `next` of an answer as `cursor`, the next request gets the next page.",
    params(
        ("owner" = Option<String>, Query, description = "Only the keys of this owner"),
        ("all" = Option<bool>, Query, description = "Also keys that have expired or are revoked"),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000. If left out, 100", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "The keys", body = KeyList),
        (status = 422, description = "A value is not acceptable. `error` names the parameter"),
    ),
)]
pub(super) async fn list(request: Request<'_>) -> Result<HttpResponse, ApiError> {
    let mut which = read_query(request.context, query::which)?;
    let length = which.limit.unwrap_or(USUAL_LENGTH);
    // One more tells whether there is another page.
    which.limit = Some(length + 1);
    let mut records = request.state.keys.list(&which).await?;
    let has_more = records.len() > length as usize;
    records.truncate(length as usize);
    let last = records.last().filter(|_| has_more);
    let list = KeyList {
        next: last.map(|record| format!("{}-{}", record.id, record.name)),
        keys: records.iter().map(Key::of).collect(),
    };
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&list)))
}

/// `GET …/{name}`: the key of this name that is not revoked.
#[utoipa::path(
    get,
    path = "/api/v1/keys/{name}",
    tag = "Keys",
    operation_id = "showKey",
    summary = "Show a key",
    description = "Never the key itself.",
    params(("name" = String, Path, description = "What the key is called")),
    responses(
        (status = 200, description = "What is known of it", body = Key),
        (status = 404, description = "There is no such key, or it is revoked"),
    ),
)]
pub(super) async fn show(request: Request<'_>, name: KeyName) -> Result<HttpResponse, ApiError> {
    let record = request.state.keys.show(&name).await?;
    let record = record.ok_or(ApiError::NoSuchKey)?;
    Ok(page::not_to_be_served_again()
        .content_type(ContentType::json())
        .body(json_line(&Key::of(&record))))
}

/// `POST`: makes a key. It is committed when the answer is 201.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "Keys",
    operation_id = "makeKey",
    summary = "Make a key",
    description = "The answer is the only one that has the key itself.",
    request_body(content(
        (ref("#/components/schemas/NewKey") = "application/json"),
        (ref("#/components/schemas/NewKeyForm") = "application/x-www-form-urlencoded"),
    )),
    responses(
        (
            status = 201,
            description = "The key. It is stored",
            body = FreshKey,
            headers(("Location" = String, description = "Where it is managed")),
        ),
        (status = 409, description = "Another key has that name"),
        (status = 422, description = "A value is not acceptable. `error` names the field"),
    ),
)]
pub(super) async fn create(
    request: Request<'_>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let key = body::read_key(&request, payload).await?;
    request.confirm().await?;
    let (secret, record) = request.state.keys.create(&key).await?;
    note(&request, "made", &record);
    let mut response = represent(StatusCode::CREATED, &secret, &record);
    let location = format!("/api/v1/keys/{}", record.name);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `DELETE …/{name}`: revokes the key, for good.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{name}",
    tag = "Keys",
    operation_id = "revokeKey",
    summary = "Revoke a key",
    description = "For good. It may be the key that this request uses. The name is free then: to send the request again \
        safely, give it the `id`.",
    params(
        ("name" = String, Path, description = "What the key is called"),
        ("id" = Option<i64>, Query, description = "Only the key with this number"),
    ),
    responses(
        (status = 204, description = "It is revoked, or was before if `id` is given"),
        (status = 404, description = "There is no such key, or it is revoked and `id` is not given"),
        (status = 409, description = "A key with another number has that name now"),
        (status = 422, description = "A value is not acceptable. `error` names the parameter"),
    ),
)]
pub(super) async fn revoke(request: Request<'_>, name: KeyName) -> Result<HttpResponse, ApiError> {
    let id = read_query(request.context, query::id)?;
    let key = KeyRef { name, id };
    let record = request.state.keys.revoke(&key).await?;
    note(&request, "revoked", &record);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST …/{name}/rotate`: gives the key another secret. The old one is dead when the answer is 200.
#[utoipa::path(
    post,
    path = "/api/v1/keys/{name}/rotate",
    tag = "Keys",
    operation_id = "rotateKey",
    summary = "Give a key another secret",
    description = "The old one is dead. If the life of the key is limited, it begins anew. Of two rotations at once, only \
        the secret of the later one works.",
    params(
        ("name" = String, Path, description = "What the key is called"),
        ("id" = Option<i64>, Query, description = "Only the key with this number"),
    ),
    responses(
        (status = 200, description = "The key. This is the only answer that has it", body = FreshKey),
        (status = 404, description = "There is no such key, or it is revoked"),
        (status = 409, description = "A key with another number has that name now"),
        (status = 422, description = "A value is not acceptable. `error` names the parameter"),
    ),
)]
pub(super) async fn rotate(request: Request<'_>, name: KeyName) -> Result<HttpResponse, ApiError> {
    let id = read_query(request.context, query::id)?;
    let key = KeyRef { name, id };
    let (secret, record) = request.state.keys.rotate(&key).await?;
    note(&request, "rotated", &record);
    Ok(represent(StatusCode::OK, &secret, &record))
}

/// Logs what was done to a key, and by which key: after a key was stolen, this says what it was used for.
fn note(request: &Request<'_>, done: &'static str, record: &KeyRecord) {
    info!(
        done,
        key = record.name.as_str(),
        id = record.id.0,
        owner = record.owner.as_str(),
        scopes = %record.scopes,
        by = request.context.key().map(|key| key.name.as_str()),
        request_id = request.context.id(),
        "an API key was managed by API"
    );
}

/// An answer with the key itself, of which no copy may stay anywhere.
fn represent(status: StatusCode, secret: &ApiKey, record: &KeyRecord) -> HttpResponse {
    let body = FreshKey {
        secret: secret.secret(),
        key: Key::of(record),
    };
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .content_type(ContentType::json())
        .body(json_line(&body))
}
