//! Around everything: who asks, how it went.

use std::{net::IpAddr, time::Instant};

use actix_http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, http::Method, web::Payload};
use tracing::debug;

use super::{
    AppState,
    edge::{REQUEST_ID, Resource, request_id},
    net::LastAnswer,
    rate_limit::rate_limit,
};

/// Gives every request its id and every answer its common headers, counts it, and writes the access line.
pub(super) async fn observe(
    state: &AppState,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let started = Instant::now();
    let id = request_id(request.headers());
    // A socket without a peer is one whose client is gone already.
    let client = match request.peer_addr() {
        Some(peer) => state.trusted_proxies.client(peer.ip(), request.headers()),
        None => IpAddr::from([0, 0, 0, 0]),
    };
    let resource = Resource::of_path(request.path());
    let route = resource.route(request.method());

    let cors = state
        .cors
        .as_ref()
        .filter(|_| resource == Resource::Shorten);
    // A browser sends it by itself, so it costs no quota; and it asks no store, so it needs no limit.
    let preflight = cors.and_then(|cors| cors.preflight(&request));
    let mut response = match preflight {
        Some(answer) => answer,
        None => rate_limit(state, route, client, &request, payload).await,
    };
    if let Some(cors) = cors {
        cors.add(&request, response.headers_mut());
    }

    let head = response.head_mut();
    if state.draining.has_begun() {
        // Clients turn to another node instead of sending the next request into a closing connection.
        head.set_connection_type(ConnectionType::Close);
    }
    if head.connection_type() == ConnectionType::Close
        && let Some(answer) = request.conn_data::<LastAnswer>()
    {
        answer.is_next();
    }

    let elapsed = started.elapsed();
    let status = response.status();
    let method = known_method(request.method());
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
        path = request.path(),
        route = route.name(),
        status = status.as_u16(),
        micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        client = %client,
        request_id = id.to_str().unwrap_or_default(),
        "request"
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
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
