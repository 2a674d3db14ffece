//! The way of a request, from the outside in: what is known of it, its key, the limit, its route.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use actix_http::ConnectionType;
use actix_web::{
    Error, HttpResponse,
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform},
};
use futures_util::future::{LocalBoxFuture, Ready, ready};

use super::{
    AppState,
    authenticate::{Authenticated, authenticate},
    edge::{Cors, Credential, REQUEST_ID, RequestContext, Resource, discard_body},
    observe::observe,
    refuse::refuse,
    routes,
};
use crate::public::Route;

/// Stands around actix-web's router, and answers most requests without it.
///
/// This is the only middleware: each one puts its future in a box. The layers inside are plain functions.
pub(super) struct Serve(pub(super) Arc<AppState>);

/// [`Serve`], and the router that it stands around.
pub(super) struct Serving<S>(Rc<Layers<S>>);

struct Layers<S> {
    state: Arc<AppState>,
    router: S,
}

impl<S> Transform<S, ServiceRequest> for Serve
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Transform = Serving<S>;
    type InitError = ();
    type Future = Ready<Result<Serving<S>, ()>>;

    fn new_transform(&self, router: S) -> Self::Future {
        let state = self.0.clone();
        ready(Ok(Serving(Rc::new(Layers { state, router }))))
    }
}

impl<S> Service<ServiceRequest> for Serving<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<ServiceResponse, Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.router.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let layers = self.0.clone();
        Box::pin(async move {
            let (request, payload) = request.into_parts();
            let context = RequestContext::new(request, &layers.state.trusted_proxies);
            let _intake = context.connection().map(|connection| {
                connection.extension.end();
                connection.intake.serve()
            });
            layers.serve(context, payload).await
        })
    }
}

impl<S> Layers<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    /// Answers a request, and gives every answer its common headers.
    async fn serve(
        &self,
        context: RequestContext,
        payload: Payload,
    ) -> Result<ServiceResponse, Error> {
        let started = Instant::now();
        let for_pages = matches!(context.resource(), Resource::Shorten | Resource::Api);
        let cors = self.state.cors.as_ref().filter(|_| for_pages);
        let (context, mut response) = match preflight(cors, &context) {
            Some(answer) => (context, answer),
            None => self.limited(context, payload).await?,
        };
        if let Some(cors) = cors {
            cors.add(context.headers(), response.headers_mut());
        }
        let head = response.head_mut();
        if self.state.draining.has_begun() {
            // Clients turn to another node instead of sending the next request into a closing connection.
            head.set_connection_type(ConnectionType::Close);
        }
        if head.connection_type() == ConnectionType::Close
            && let Some(connection) = context.connection()
        {
            connection.last_answer.is_next();
        }
        let status = response.status();
        observe(&self.state.metrics, &context, status, started.elapsed());
        let (request, id) = context.into_parts();
        response.headers_mut().insert(REQUEST_ID, id);
        Ok(ServiceResponse::new(request, response))
    }

    /// Asks the limiter first, so that a refused request costs no more than that. If the request has a key, it must be
    /// valid.
    async fn limited(
        &self,
        mut context: RequestContext,
        payload: Payload,
    ) -> Result<(RequestContext, HttpResponse), Error> {
        let credential = match context.route().is_limited() {
            true => Credential::of(context.headers()),
            false => None,
        };
        let (mut outcomes, error) = match (credential, &self.state.rate_limit) {
            (Some(credential), _) => {
                // In a box, because hardly any redirect has a key.
                let authenticated = Box::pin(authenticate(&self.state, &context, credential));
                let Authenticated { outcomes, key } = authenticated.await;
                let error = key.map(|key| context.has_key(key)).err();
                (outcomes, error)
            }
            (None, Some(limit)) => {
                let outcomes = limit.decide(context.route(), context.client()).await;
                outcomes.count(&self.state.metrics);
                let error = outcomes.error();
                (outcomes, error)
            }
            (None, None) => return self.answered(context, payload).await,
        };
        let (context, mut response) = match error {
            Some(error) => {
                discard_body(&context, payload).await;
                let response = refuse(&context, &error);
                (context, response)
            }
            None => self.answered(context, payload).await?,
        };
        // Only there can a password be tried, and no redirect has to look.
        if context.route() == Route::Other
            && let (Some(limit), Some(attempt)) = (&self.state.rate_limit, context.attempt())
        {
            outcomes.add(limit.attempt_with_password(attempt));
        }
        outcomes.announce(response.headers_mut());
        Ok((context, response))
    }

    /// Lets the route's handler answer. A path that is none of ours goes to actix-web's router.
    async fn answered(
        &self,
        context: RequestContext,
        payload: Payload,
    ) -> Result<(RequestContext, HttpResponse), Error> {
        if context.resource() == Resource::Nothing {
            return context.pass_on(payload, &self.router).await;
        }
        let answer = routes::answer(&self.state, &context, payload).await;
        let response = answer.unwrap_or_else(|error| refuse(&context, &error));
        Ok((context, response))
    }
}

/// The answer to a preflight. It costs no quota, because a browser sends preflights by itself. It needs no limit,
/// because it asks no store.
fn preflight(cors: Option<&Cors>, context: &RequestContext) -> Option<HttpResponse> {
    let answer = cors?.preflight(context)?;
    Some(answer.unwrap_or_else(|error| refuse(context, &error)))
}
