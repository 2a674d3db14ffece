//! The outermost middleware: who asks, how it went, and errors as pages for browsers.

use std::{net::IpAddr, time::Instant};

use actix_http::ConnectionType;
use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header},
    middleware::Next,
    web::Data,
};
use tracing::debug;

use super::{
    AppState, InvalidForwardedFor, Route,
    error::ApiError,
    page,
    request_id::{REQUEST_ID, request_id},
    slow_client::LastAnswer,
};

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) client: Result<IpAddr, InvalidForwardedFor>,
    pub(super) route: Route,
}

/// Gives every request its id and every answer its common headers, counts it, and writes the access line.
pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        return Err(ApiError::Unavailable.into());
    };
    let id = request_id(request.headers());
    // A socket without a peer is one whose client is gone already.
    let client = match request.peer_addr() {
        Some(peer) => state.trusted_proxies.client(peer.ip(), request.headers()),
        None => Ok(IpAddr::from([0, 0, 0, 0])),
    };
    let route = Route::of_path(request.path());
    request.extensions_mut().insert(Caller { client, route });

    let mut response = next.call(request).await?.map_into_boxed_body();

    if page::is_wanted(response.request().headers()) {
        let problem = response.response().error();
        if let Some(error) = problem.and_then(|error| error.as_error::<ApiError>()) {
            let page = page::error_page(error, route);
            let (request, problem) = response.into_parts();
            let mut with_page = ServiceResponse::new(request, page);
            for (name, value) in problem.headers() {
                if name != header::CONTENT_TYPE {
                    with_page.headers_mut().insert(name.clone(), value.clone());
                }
            }
            response = with_page;
        }
    }
    response.headers_mut().insert(REQUEST_ID, id.clone());
    let head = response.response_mut().head_mut();
    if state.draining.has_begun() {
        // Clients turn to another node instead of sending the next request into a closing connection.
        head.set_connection_type(ConnectionType::Close);
    }
    let last = head.connection_type() == ConnectionType::Close;
    if let Some(answer) = response
        .request()
        .conn_data::<LastAnswer>()
        .filter(|_| last)
    {
        answer.is_next();
    }

    let elapsed = started.elapsed();
    let status = response.status();
    let method = known_method(response.request().method());
    state
        .metrics
        .requests
        .with_label_values(&[route.name(), method, status.as_str()])
        .inc();
    if let Some(seconds) = state.metrics.seconds.get(route.index()) {
        seconds.observe(elapsed.as_secs_f64());
    }
    debug!(
        method,
        path = response.request().path(),
        status = status.as_u16(),
        micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        client = client.ok().map(tracing::field::display),
        request_id = id.to_str().unwrap_or_default(),
        "request"
    );
    Ok(response)
}

/// Anybody can make up methods; a metric must not grow with them.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
