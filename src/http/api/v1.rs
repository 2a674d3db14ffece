//! The paths of `/api/v1`.

mod change;
mod codes;
mod link;
mod links;
mod me;

use std::sync::Arc;

use actix_web::{HttpResponse, dev::Payload, http::Method};

use crate::{
    http::{
        AppState,
        authenticate::{authorize, editor},
        edge::{RequestContext, discard_body},
        problem::ApiError,
    },
    keys::{Scope, VerifiedKey},
    links::{Edit, Editor, LinkRecord, Operation, ShortCode, Version},
};

/// What a path below `/api/v1/` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `links`
    Links,
    /// `links/{code}`
    Link(ShortCode),
    /// `links/{code}/restore`
    Restore(ShortCode),
    /// `links/{code}/codes`
    Codes(ShortCode),
    /// `links/{code}/codes/{code}`
    Code(ShortCode, ShortCode),
    /// `me`
    Me,
}

impl Resource {
    /// `None` if there is nothing at this path, and cannot be.
    fn of(segments: &[&str]) -> Option<Self> {
        let code = ShortCode::parse;
        Some(match segments {
            ["links"] => Self::Links,
            ["links", link] => Self::Link(code(link)?),
            ["links", link, "restore"] => Self::Restore(code(link)?),
            ["links", link, "codes"] => Self::Codes(code(link)?),
            ["links", link, "codes", other] => Self::Code(code(link)?, code(other)?),
            ["me"] => Self::Me,
            _ => return None,
        })
    }

    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Links | Self::Restore(_) => &[Method::POST],
            Self::Link(_) => &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE],
            Self::Codes(_) => &[Method::GET, Method::HEAD, Method::POST],
            Self::Code(..) => &[Method::DELETE],
            Self::Me => &[Method::GET, Method::HEAD],
        }
    }

    /// What a key must allow; `None`: any key will do.
    fn scope(&self) -> Option<Scope> {
        match self {
            Self::Links => Some(Scope::Create),
            Self::Link(_) | Self::Restore(_) | Self::Codes(_) | Self::Code(..) => {
                Some(Scope::Manage)
            }
            Self::Me => None,
        }
    }
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
    let resource = Resource::of(segments).ok_or(ApiError::NotFound)?;
    if !resource.methods().contains(context.method()) {
        let allowed = resource.methods();
        return Err(ApiError::MethodNotAllowed { allowed });
    }
    let key = context.key().ok_or(ApiError::KeyNeeded)?;
    if let Some(scope) = resource.scope() {
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
        (_, Resource::Links) => links::create(request, payload).await,
        (&Method::PATCH, Resource::Link(code)) => link::change(request, code, payload).await,
        (&Method::POST, Resource::Codes(code)) => codes::add(request, code, payload).await,
        (_, resource) => {
            discard_body(context, payload).await;
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
        (_, Resource::Me) => Ok(me::show(request.state, key)),
        // It has no other method than `POST`, which has a body.
        (_, Resource::Links) => Err(ApiError::NotFound),
    }
}

/// A request that may do what it asks for.
struct Request<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    editor: Editor,
}

impl Request<'_> {
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
        for (path, resource) in [
            ("links", Some(Resource::Links)),
            ("links/a", Some(Resource::Link(code("a")))),
            ("links/codes", Some(Resource::Link(code("codes")))),
            ("links/a/restore", Some(Resource::Restore(code("a")))),
            ("links/a/codes", Some(Resource::Codes(code("a")))),
            (
                "links/a/codes/b",
                Some(Resource::Code(code("a"), code("b"))),
            ),
            ("me", Some(Resource::Me)),
            ("", None),
            ("link", None),
            ("links/", None),
            ("links/a.b", None),
            ("links/a/b", None),
            ("links/a/codes/b/c", None),
            ("links/a/codes/%2F", None),
            ("me/me", None),
        ] {
            let segments: Vec<_> = path.split('/').collect();
            assert_eq!(Resource::of(&segments), resource, "{path}");
        }
    }
}
