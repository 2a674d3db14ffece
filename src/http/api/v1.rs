//! The paths of `/api/v1`.

mod bulk;
mod change;
mod codes;
mod keys;
mod link;
mod links;
mod list;
mod me;
mod operations;
mod owners;
mod query;
mod tags;

pub(super) use self::operations::{bodies, operations, scope_of};

use std::sync::Arc;

use actix_web::{HttpResponse, dev::Payload, http::Method};
use percent_encoding::percent_decode_str;

use crate::{
    http::{
        AppState,
        authenticate::{authorize, confirm, editor},
        edge::{RequestContext, discard_body},
        problem::ApiError,
    },
    keys::{KeyName, Scope, VerifiedKey},
    links::{Edit, Editor, LinkRecord, Operation, ShortCode, Version},
};

/// What a path below `/api/v1/` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `links`
    Links,
    /// `links/bulk`, for `POST`. With any other method, this is the link with that code.
    Bulk,
    /// `links/{code}`
    Link(ShortCode),
    /// `links/{code}/restore`
    Restore(ShortCode),
    /// `links/{code}/codes`
    Codes(ShortCode),
    /// `links/{code}/codes/{code}`
    Code(ShortCode, ShortCode),
    /// `tags`
    Tags,
    /// `tags/{tag}`
    Tag(String),
    /// `owners`
    Owners,
    /// `me`
    Me,
    /// `keys`
    Keys,
    /// `keys/{name}`
    Key(KeyName),
    /// `keys/{name}/rotate`
    Rotate(KeyName),
}

impl Resource {
    /// `None` if there is nothing at this path, and cannot be.
    fn of(segments: &[&str]) -> Option<Self> {
        let code = ShortCode::parse;
        let key = |name: &str| KeyName::parse(name).ok();
        Some(match segments {
            ["links"] => Self::Links,
            ["links", "bulk"] => Self::Bulk,
            ["links", link] => Self::Link(code(link)?),
            ["links", link, "restore"] => Self::Restore(code(link)?),
            ["links", link, "codes"] => Self::Codes(code(link)?),
            ["links", link, "codes", other] => Self::Code(code(link)?, code(other)?),
            ["tags"] => Self::Tags,
            ["tags", tag] => Self::Tag(decoded(tag)?),
            ["owners"] => Self::Owners,
            ["me"] => Self::Me,
            ["keys"] => Self::Keys,
            ["keys", name] => Self::Key(key(name)?),
            ["keys", name, "rotate"] => Self::Rotate(key(name)?),
            _ => return None,
        })
    }

    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Links => &[Method::GET, Method::HEAD, Method::POST],
            Self::Restore(_) | Self::Rotate(_) => &[Method::POST],
            Self::Bulk => &[
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PATCH,
                Method::DELETE,
            ],
            Self::Link(_) => &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE],
            Self::Key(_) => &[Method::GET, Method::HEAD, Method::DELETE],
            Self::Codes(_) | Self::Keys => &[Method::GET, Method::HEAD, Method::POST],
            Self::Code(..) => &[Method::DELETE],
            Self::Tag(_) => &[Method::PATCH, Method::DELETE],
            Self::Tags | Self::Owners | Self::Me => &[Method::GET, Method::HEAD],
        }
    }

    /// What a key must allow; `None`: any key will do.
    fn scope(&self, method: &Method) -> Option<Scope> {
        match self {
            Self::Links if method == Method::POST => Some(Scope::Create),
            Self::Bulk => Some(Scope::Create),
            Self::Links | Self::Link(_) | Self::Restore(_) | Self::Codes(_) | Self::Code(..) => {
                Some(Scope::Manage)
            }
            Self::Tags | Self::Tag(_) | Self::Owners => Some(Scope::Manage),
            Self::Keys | Self::Key(_) | Self::Rotate(_) => Some(Scope::Admin),
            Self::Me => None,
        }
    }
}

/// A segment of a path that may have any characters. `None` if it is no text, or if no tag could be that.
fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    let is_tag = !text.is_empty() && !text.contains(|c: char| c == ',' || c.is_control());
    is_tag.then(|| text.into_owned())
}

/// What the path of a request names, and the key of the request, which allows that.
///
/// # Errors
/// [`ApiError`] if there is nothing at the path, or not with this method, or not for this client. The API always needs
/// a key, even where links can be made without one.
pub(super) fn find<'a>(
    context: &'a RequestContext,
    segments: &[&str],
) -> Result<(Resource, &'a Arc<VerifiedKey>), ApiError> {
    let resource = Resource::of(segments).ok_or(match segments {
        ["keys", _] | ["keys", _, "rotate"] => ApiError::NoSuchKey,
        _ => ApiError::NotFound,
    })?;
    if !resource.methods().contains(context.method()) {
        let allowed = resource.methods();
        return Err(ApiError::MethodNotAllowed { allowed });
    }
    let resource = match resource {
        Resource::Bulk if context.method() != Method::POST => {
            Resource::Link(ShortCode::parse("bulk").ok_or(ApiError::NotFound)?)
        }
        resource => resource,
    };
    let key = context.key().ok_or(ApiError::KeyNeeded)?;
    if let Some(scope) = resource.scope(context.method()) {
        authorize(context, scope, false)?;
    }
    Ok((resource, key))
}

/// Answers a request for what [`find`] has found.
pub(super) async fn answer(
    state: &AppState,
    context: &RequestContext,
    key: &VerifiedKey,
    resource: Resource,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let request = Request {
        state,
        context,
        editor: editor(key),
    };
    match (context.method(), resource) {
        (&Method::POST, Resource::Links) => links::create(request, payload).await,
        (_, Resource::Bulk) => bulk::create(request, key, payload).await,
        (&Method::PATCH, Resource::Link(code)) => link::change(request, code, payload).await,
        (&Method::PATCH, Resource::Tag(tag)) => tags::rename(request, tag, payload).await,
        (&Method::POST, Resource::Codes(code)) => codes::add(request, code, payload).await,
        (&Method::POST, Resource::Keys) => keys::create(request, payload).await,
        (_, resource) => {
            discard_body(context, payload).await;
            request.confirm().await?;
            answer_without_body(request, key, resource).await
        }
    }
}

/// As [`answer`], where a body means nothing.
async fn answer_without_body(
    request: Request<'_>,
    key: &VerifiedKey,
    resource: Resource,
) -> Result<HttpResponse, ApiError> {
    match (request.context.method(), resource) {
        (&Method::DELETE, Resource::Link(code)) => link::delete(request, code).await,
        (_, Resource::Link(code)) => link::show(request, code).await,
        (_, Resource::Restore(code)) => link::restore(request, code).await,
        (_, Resource::Codes(code)) => codes::list(request, code).await,
        (_, Resource::Code(code, other)) => codes::remove(request, code, other).await,
        (_, Resource::Keys) => keys::list(request).await,
        (&Method::DELETE, Resource::Key(name)) => keys::revoke(request, name).await,
        (_, Resource::Key(name)) => keys::show(request, name).await,
        (_, Resource::Rotate(name)) => keys::rotate(request, name).await,
        (_, Resource::Me) => Ok(me::show(request.state, key)),
        (_, Resource::Links) => list::list(request).await,
        (_, Resource::Tags) => tags::list(request).await,
        (_, Resource::Tag(tag)) => tags::remove(request, tag).await,
        (_, Resource::Owners) => owners::list(request).await,
        // It has no other method than `POST`, which has a body.
        (_, Resource::Bulk) => Err(ApiError::NotFound),
    }
}

/// A request that may do what it asks for.
struct Request<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    editor: Editor,
}

impl Request<'_> {
    /// As [`confirm`], to be asked between the body and what it is about.
    async fn confirm(&self) -> Result<(), ApiError> {
        confirm(self.state, self.context).await
    }

    /// The link that has this code, if it is there for the holder of the key.
    async fn record(&self, code: &ShortCode) -> Result<LinkRecord, ApiError> {
        let record = self.state.links.record(code, &self.editor).await?;
        record.ok_or(ApiError::NotFound)
    }

    /// Edits the link that has this code.
    async fn edit(
        self,
        code: ShortCode,
        only_if: Option<Vec<Version>>,
        operation: Operation,
    ) -> Result<LinkRecord, ApiError> {
        let edit = Edit {
            code,
            editor: self.editor,
            only_if,
            operation,
        };
        Ok(self.state.links.edit(&edit).await?.record()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_resource_or_none() {
        let code = |text: &str| ShortCode::parse(text).expect("a code");
        let key = |text: &str| KeyName::parse(text).expect("a name");
        for (path, resource) in [
            ("links", Some(Resource::Links)),
            ("links/a", Some(Resource::Link(code("a")))),
            ("links/bulk", Some(Resource::Bulk)),
            ("links/codes", Some(Resource::Link(code("codes")))),
            ("links/a/restore", Some(Resource::Restore(code("a")))),
            ("links/a/codes", Some(Resource::Codes(code("a")))),
            (
                "links/a/codes/b",
                Some(Resource::Code(code("a"), code("b"))),
            ),
            ("me", Some(Resource::Me)),
            ("keys", Some(Resource::Keys)),
            ("keys/rotate", Some(Resource::Key(key("rotate")))),
            ("keys/a.b/rotate", Some(Resource::Rotate(key("a.b")))),
            ("keys/a+b", None),
            ("keys/a/revoke", None),
            ("", None),
            ("link", None),
            ("links/", None),
            ("links/a.b", None),
            ("links/a/b", None),
            ("links/a/codes/b/c", None),
            ("links/a/codes/%2F", None),
            ("me/me", None),
            ("tags", Some(Resource::Tags)),
            ("tags/a%2Fb%25", Some(Resource::Tag("a/b%".to_owned()))),
            ("tags/%C3%A9 x", Some(Resource::Tag("é x".to_owned()))),
            ("tags/a/b", None),
            ("tags/%FF", None),
            ("tags/a%00", None),
            ("tags/", None),
            ("owners", Some(Resource::Owners)),
            ("owners/a", None),
        ] {
            let segments: Vec<_> = path.split('/').collect();
            assert_eq!(Resource::of(&segments), resource, "{path}");
        }
    }
}
