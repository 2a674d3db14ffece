//! Counts requests, and writes the access line.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use tracing::debug;

use super::{
    HttpMetrics,
    edge::{RequestContext, without_key},
};

/// Counts a request that was answered with `status`, and writes its line.
pub(super) fn observe(
    metrics: &HttpMetrics,
    context: &RequestContext,
    status: StatusCode,
    took: Duration,
) {
    let route = context.route();
    let method = known_method(context.method());
    let labels = [route.name(), method, status.as_str()];
    metrics.requests.with_label_values(&labels).inc();
    if let Some(seconds) = metrics.seconds.get(route.index()) {
        seconds.observe(took.as_secs_f64());
    }
    debug!(
        method,
        path = &*without_key(context.path()),
        route = route.name(),
        status = status.as_u16(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        client = %context.client(),
        key = context.key().map(|key| key.name.as_str()),
        request_id = context.id(),
        "request"
    );
}

/// The method in metrics. Clients can make up methods, and a metric must not grow with them.
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
