//! The management listener: probes and metrics. It is never public and never limited.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::header::ContentType,
    web::{self, Data},
};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Draining, problem::json_line};
use crate::{
    limiter::{Limiter, RedisState},
    links::Links,
    telemetry::Metrics,
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
    /// Whether the node could serve nothing at the last `/readyz`: only a change is logged.
    pub not_ready: AtomicBool,
}

/// The management listener's server. It serves until it is told to stop.
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

/// Whether a load balancer should send requests here. 503 while draining, and when the node can serve nothing useful. A
/// failed dependency that all nodes have in common is no reason for 503: without it each node serves what it remembers,
/// which would end if a load balancer took out all of them. The answer reports it, as `degraded`.
///
/// With `?strict` everything that does not work is a reason. That is for scripts that replace one node after another.
async fn readyz(management: Data<Management>, request: HttpRequest) -> HttpResponse {
    let strict = is_strict(request.query_string());
    let Readiness {
        dependencies,
        reasons,
        serves,
    } = management.readiness(strict).await;
    let draining = management.draining.has_begun();
    let was_not_ready = management.not_ready.swap(!serves, Ordering::Relaxed);
    if !serves && !was_not_ready && !draining {
        warn!(reasons = reasons.join("; "), "not ready");
    }
    let (ready, summary) = match (draining, serves, reasons.is_empty()) {
        (true, _, _) => (false, "draining"),
        (false, false, _) => (false, "unavailable"),
        (false, true, false) => (!strict, "degraded"),
        (false, true, true) => (true, "ready"),
    };
    let mut body = json!({ "status": summary, "dependencies": dependencies });
    if !reasons.is_empty() {
        body["reasons"] = reasons.into();
    }
    let mut response = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response
        .content_type(ContentType::json())
        .body(json_line(&body))
}

/// `?strict`, also as `?strict=1` and `?strict=true`.
fn is_strict(query: &str) -> bool {
    let mut parts = query.split('&');
    parts.any(|part| matches!(part, "strict" | "strict=" | "strict=1" | "strict=true"))
}

/// What works.
struct Readiness {
    /// Each with its status: `up`, `degraded` or `down`.
    dependencies: Map<String, Value>,
    /// What does not work, and why: one sentence each.
    reasons: Vec<String>,
    /// Whether this node can serve anything that other nodes cannot serve equally well or better.
    serves: bool,
}

impl Management {
    async fn readiness(&self, strict: bool) -> Readiness {
        let mut dependencies = Map::new();
        let mut reasons = Vec::new();
        let mut report = |name: &str, state: &str, why: &[String]| {
            dependencies.insert(name.to_owned(), json!({ "status": state }));
            reasons.extend(why.iter().map(|why| format!("{name}: {why}")));
        };
        let store = self.links.store_name();
        let troubles = self.links.troubles(strict).await;
        let mut why = troubles.reads;
        why.extend(troubles.writes);
        why.dedup();
        let state = match (troubles.is_down, why.is_empty()) {
            (true, _) => "down",
            (false, false) => "degraded",
            (false, true) => "up",
        };
        report(store, state, &why);

        if let Some(limiter) = &self.limiter
            && let Some(state) = limiter.redis_state()
        {
            let consequence = if limiter.can_serve_without_redis() {
                "the limit is not shared with other nodes"
            } else {
                "requests are refused (limiter.on_redis_failure = \"deny\")"
            };
            match state {
                RedisState::Up => report("redis", "up", &[]),
                RedisState::Down => report("redis", "down", &[consequence.to_owned()]),
                RedisState::Degraded(away) => {
                    let servers = away.join(", ");
                    let why = format!("for the clients of {servers}, {consequence}");
                    report("redis", "degraded", &[why]);
                }
            }
        }
        let remembers = self
            .links
            .cache_usage()
            .is_some_and(|cache| cache.links > 0);
        Readiness {
            dependencies,
            reasons,
            serves: !troubles.is_down || remembers || self.links.store_is_networked(),
        }
    }
}

async fn metrics(management: Data<Management>) -> HttpResponse {
    match management.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .content_type("text/plain; version=0.0.4; charset=utf-8")
            .body(text),
        Err(error) => HttpResponse::InternalServerError()
            .content_type(ContentType::plaintext())
            .body(format!("{error}\n")),
    }
}
