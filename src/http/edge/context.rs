//! What the service knows of a request, found out once.

use std::{cell::OnceCell, net::IpAddr, sync::Arc};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse,
    dev::{Payload, Service, ServiceRequest, ServiceResponse},
    error::ErrorInternalServerError,
    http::{
        Method,
        header::{HeaderMap, HeaderValue},
    },
};
use futures_util::future::{Ready, ready};

use super::{
    Resource, TrustedProxies, accept::asks_for_page, origin::requested_origin,
    request_id::request_id, resource::normalised_api_path,
};
use crate::{
    http::{net::Connection, problem::ApiError},
    keys::VerifiedKey,
    limiter::Outcome,
    public::{Exception, PublicUrl, Route, RouteLimits, USUAL},
};

/// A request, and what the service knows of it. Every handler gets one.
///
/// A redirect needs only what is found out at once. The rest is found out when a handler asks for it.
pub(in crate::http) struct RequestContext {
    request: HttpRequest,
    known: Known,
}

#[derive(Clone)]
struct Known {
    client: IpAddr,
    id: HeaderValue,
    resource: Resource,
    route: Route,
    /// Whether a trusted proxy sent the request, so that its `X-Forwarded-Proto` is believed.
    from_proxy: bool,
    wants_page: OnceCell<bool>,
    key: Option<Arc<VerifiedKey>>,
    /// In a box, because hardly any request has one.
    attempt: OnceCell<Box<Outcome>>,
}

impl RequestContext {
    /// The context of a request. Its client is the peer, or, if the peer is one of `proxies`, the client that it names.
    pub(in crate::http) fn new(request: HttpRequest, proxies: &TrustedProxies) -> Self {
        let peer = request.conn_data().and_then(|c: &Connection| c.peer);
        let resource = Resource::of_path(request.path());
        let known = Known {
            client: match peer {
                Some(peer) => proxies.client(peer, request.headers()),
                // The client is gone already, and no answer reaches it.
                None => IpAddr::from([0, 0, 0, 0]),
            },
            id: request_id(request.headers()),
            resource,
            route: resource.route(request.method()),
            from_proxy: peer.is_some_and(|peer| peer.is_proxy),
            wants_page: OnceCell::new(),
            key: None,
            attempt: OnceCell::new(),
        };
        Self { request, known }
    }

    /// Lets actix-web's router answer. Its handlers get the context as an argument.
    ///
    /// # Errors
    /// If the router fails. A handler that fails is an answer.
    pub(in crate::http) async fn pass_on<S>(
        self,
        payload: Payload,
        router: &S,
    ) -> Result<(Self, HttpResponse), Error>
    where
        S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
    {
        let Self { request, known } = self;
        request.extensions_mut().insert(known.clone());
        let request = ServiceRequest::from_parts(request, payload);
        let (request, response) = router.call(request).await?.into_parts();
        Ok((Self { request, known }, response))
    }

    /// The request and its id, once it is answered.
    pub(in crate::http) fn into_parts(self) -> (HttpRequest, HeaderValue) {
        (self.request, self.known.id)
    }

    /// The request has presented this key, and the key is valid.
    pub(in crate::http) fn has_key(&mut self, key: Arc<VerifiedKey>) {
        self.known.key = Some(key);
    }

    /// The key that the request has presented, if it has any. It is valid.
    pub(in crate::http) fn key(&self) -> Option<&Arc<VerifiedKey>> {
        self.known.key.as_ref()
    }

    /// The request has tried the password of a link, and this is what the limiter says of the attempt.
    pub(in crate::http) fn has_tried_a_password(&self, outcome: Outcome) {
        // A request has one password.
        let _ = self.known.attempt.set(Box::new(outcome));
    }

    /// What the limiter says of the attempt, if the request has made one and attempts are limited.
    pub(in crate::http) fn attempt(&self) -> Option<Outcome> {
        self.known.attempt.get().map(|outcome| **outcome)
    }

    /// The address that is counted if the request has no key.
    pub(in crate::http) fn client(&self) -> IpAddr {
        self.known.client
    }

    /// The `X-Request-Id` of the request and of its answer.
    pub(in crate::http) fn id(&self) -> &str {
        self.known.id.to_str().unwrap_or_default()
    }

    /// What the path names.
    pub(in crate::http) fn resource(&self) -> Resource {
        self.known.resource
    }

    /// The route, by path and method.
    pub(in crate::http) fn route(&self) -> Route {
        self.known.route
    }

    pub(in crate::http) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path as the client sent it.
    pub(in crate::http) fn path(&self) -> &str {
        self.request.path()
    }

    /// The query as the client sent it; empty if there is none.
    pub(in crate::http) fn query(&self) -> &str {
        self.request.query_string()
    }

    pub(in crate::http) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The connection that the request came over; `None` only in tests.
    pub(in crate::http) fn connection(&self) -> Option<&Connection> {
        self.request.conn_data()
    }

    /// How large the request may be, and how long its answer may take.
    pub(in crate::http) fn limits(&self) -> &'static RouteLimits {
        self.exception().map_or(&USUAL, |own| &own.limits)
    }

    /// The row of the request in the table of limits, if it has one.
    pub(in crate::http) fn exception(&self) -> Option<&'static Exception> {
        match self.known.resource {
            Resource::Api => Exception::of(self.method(), &normalised_api_path(self.path())),
            _ => None,
        }
    }

    /// Whether the client asks for a page. An answer that depends on this says `Vary: Accept`.
    pub(in crate::http) fn wants_page(&self) -> bool {
        // Programs use the API, also from within a page.
        let asks = || self.known.resource != Resource::Api && asks_for_page(self.headers());
        *self.known.wants_page.get_or_init(asks)
    }

    /// The scheme and the authority that the request came to, as a URL. `None` if the client did not say.
    ///
    /// # Errors
    /// [`ApiError::Malformed`] if the `Host` header is not valid: a short link that begins with it would lead nowhere.
    pub(in crate::http) fn origin(&self) -> Result<Option<PublicUrl>, ApiError> {
        requested_origin(&self.request, self.known.from_proxy)
    }
}

/// For handlers behind actix-web's router.
impl FromRequest for RequestContext {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Known>().cloned();
        ready(match known {
            Some(known) => Ok(Self {
                request: request.clone(),
                known,
            }),
            None => Err(ErrorInternalServerError("a request without a context")),
        })
    }
}
