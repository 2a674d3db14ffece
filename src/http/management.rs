//! The management listener: probes and metrics. Never public, never limited.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    http::header::ContentType,
    web::{self, Data},
};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Draining, error::json_line};
use crate::{
    limiter::Limiter,
    links::Links,
    telemetry::{Gauges, Metrics, dropped_log_lines},
};

/// What the probes and metrics are about.
pub struct Management {
    /// The links.
    pub links: Arc<Links>,
    /// The limiter, if there is one.
    pub limiter: Option<Arc<Limiter>>,
    /// Whether the node is about to stop.
    pub draining: Draining,
    /// All metrics.
    pub metrics: Metrics,
    /// Those that are looked up when they are asked for.
    pub gauges: Gauges,
    /// Whether the last `/readyz` said no: only changes are logged.
    pub not_ready: AtomicBool,
}

/// The management listener's server. It does not stop by itself.
///
/// # Errors
/// If the listener cannot be used.
pub fn management_server(
    listener: TcpListener,
    management: Arc<Management>,
) -> std::io::Result<Server> {
    let management = Data::from(management);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(management.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

/// The process runs and answers.
async fn livez() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(json_line(&json!({ "status": "alive" })))
}

/// Whether requests should be sent here: 503 while draining or when a dependency is away that none can be
/// served without.
async fn readyz(management: Data<Management>) -> HttpResponse {
    let mut dependencies = Map::new();
    let (store, _) = management.links.store_usage();
    let links = management.links.ping().await;
    dependencies.insert(store.to_owned(), status(links.is_ok(), "down"));

    let limiter = management.limiter.as_ref();
    if let Some((_, breaker)) = limiter.and_then(|limiter| limiter.redis()) {
        dependencies.insert("redis".to_owned(), status(!breaker.is_open(), "down"));
    }
    let limiter_serves = limiter.is_none_or(|limiter| limiter.can_serve());
    let draining = management.draining.has_begun();
    let ready = links.is_ok() && limiter_serves && !draining;
    let was_not_ready = management.not_ready.swap(!ready, Ordering::Relaxed);
    if !ready && !was_not_ready && !draining {
        warn!(store = links.is_ok(), limiter = limiter_serves, "not ready");
    }
    let summary = match (draining, ready) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "unavailable",
    };
    let mut response = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response.content_type(ContentType::json()).body(json_line(
        &json!({ "status": summary, "dependencies": dependencies }),
    ))
}

fn status(up: bool, otherwise: &str) -> Value {
    json!({ "status": if up { "up" } else { otherwise } })
}

async fn metrics(management: Data<Management>) -> HttpResponse {
    management.refresh();
    match management.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .content_type("text/plain; version=0.0.4; charset=utf-8")
            .body(text),
        Err(error) => HttpResponse::InternalServerError()
            .content_type(ContentType::plaintext())
            .body(format!("{error}\n")),
    }
}

impl Management {
    fn refresh(&self) {
        let gauges = &self.gauges;
        let pool = |store: &str, in_use: usize, idle: usize, max: usize| {
            let connections = &gauges.pool_connections;
            connections
                .with_label_values(&[store, "in_use"])
                .set(in_use as i64);
            connections
                .with_label_values(&[store, "idle"])
                .set(idle as i64);
            gauges.pool_max.with_label_values(&[store]).set(max as i64);
        };
        Gauges::raise(&gauges.log_lines_dropped, dropped_log_lines());
        let (store, usage) = self.links.store_usage();
        pool(store, usage.in_use, usage.idle, usage.max);

        if let Some(cache) = self.links.cache_usage() {
            let entries = |kind: &str, count: usize| {
                let gauge = gauges.cache_entries.with_label_values(&[kind]);
                gauge.set(count as i64);
            };
            entries("link", cache.links);
            entries("miss", cache.misses);
            gauges
                .cache_watching
                .set(f64::from(u8::from(cache.watching)));
        }

        let Some(limiter) = &self.limiter else {
            return;
        };
        let local = limiter.local();
        gauges.local_clients.set(local.clients() as f64);
        gauges.local_bytes.set(local.bytes() as f64);
        Gauges::raise(&gauges.local_evictions, local.evictions());
        if let Some((redis, breaker)) = limiter.redis() {
            gauges
                .breaker_open
                .set(f64::from(u8::from(breaker.is_open())));
            Gauges::raise(&gauges.breaker_opened, breaker.times_opened());
            gauges
                .wall_clock_ahead
                .set(redis.store().wall_clock_ahead_seconds());
            gauges.shielded_clients.set(redis.shielded_clients() as f64);
            gauges
                .redis_connections
                .set(redis.store().open_connections() as f64);
        }
    }
}
