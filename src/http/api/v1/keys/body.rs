//! The fields of a `POST` that makes a key.

use std::time::Duration;

use actix_web::dev::Payload;

use super::super::Request;
use crate::{
    http::{
        fields::{
            fields, given, list, malformed, number, read_members, shortened, text, unacceptable,
        },
        problem::ApiError,
    },
    keys::{InvalidLife, KeyName, Life, NewKey, Scopes},
    limiter::Quota,
    owner::Owner,
};

/// Reads the body: at most 32 KiB.
pub(super) async fn read_key(request: &Request<'_>, payload: Payload) -> Result<NewKey, ApiError> {
    let Request { state, context, .. } = request;
    let fields = read_members(context, payload, state.request_timeout, Fields::read).await?;
    fields.key()
}

fields!(name: text, scopes: list, owner: text, expires_in: number, quota: text);

/// The names of the fields that a `POST` can have.
pub(in crate::http::api::v1) const FIELDS: &[&str] = Fields::NAMES;

impl Fields {
    /// The key that they describe.
    fn key(self) -> Result<NewKey, ApiError> {
        let name = given(self.name).ok_or_else(|| malformed("The field `name` is missing"))?;
        let scopes = self
            .scopes
            .ok_or_else(|| malformed("The field `scopes` is missing"))?;
        // What is empty is refused, and not left out: a program that has lost the value would make a key that never
        // expires.
        let owner = self.owner.map(|text| owner_named(&text));
        let life = self.expires_in.map(|text| life_of(&text));
        let quota = self.quota.map(|text| quota_of(&text));
        Ok(NewKey {
            name: name_of(&name)?,
            owner: owner.transpose()?.unwrap_or_default(),
            scopes: scopes_of(&scopes)?,
            quota: quota.transpose()?,
            life: life.transpose()?,
        })
    }
}

fn name_of(text: &str) -> Result<KeyName, ApiError> {
    KeyName::parse_new(text).map_err(|error| unacceptable("name", error))
}

pub(super) fn owner_named(text: &str) -> Result<Owner, ApiError> {
    Owner::parse(text).map_err(|error| {
        let hint = match text.contains(' ') {
            true => ". In a query or a form, write `+` as `%2B`",
            false => "",
        };
        unacceptable("owner", format!("{error}{hint}"))
    })
}

fn scopes_of(text: &str) -> Result<Scopes, ApiError> {
    text.parse::<Scopes>()
        .map_err(|error| unacceptable("scopes", shortened(&error.to_string())))
}

/// Seconds, or a duration like `90d`.
fn life_of(text: &str) -> Result<Life, ApiError> {
    let life = match text.trim().parse() {
        Ok(seconds) => Life::new(Duration::from_secs(seconds)),
        Err(_) => text.parse(),
    };
    life.map_err(|InvalidLife| {
        let why = "seconds or a duration like 90d, from 1 second to 10 years";
        unacceptable("expires_in", why)
    })
}

fn quota_of(text: &str) -> Result<Quota, ApiError> {
    text.parse().map_err(|error| unacceptable("quota", error))
}
