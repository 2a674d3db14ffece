//! The middleware that asks the limiter, and the headers that tell the client.

use std::{fmt::Write, net::IpAddr, sync::Arc, time::Duration};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};
use futures_util::{StreamExt, future::join_all};
use ipnet::IpNet;
use tokio::time::timeout;

use super::{AppState, Route, error::ApiError, form::MAX_BODY, observe::Caller};
use crate::{
    limiter::{ClientId, Decision, Limiter, Policy, Ruling, Source},
    telemetry::HttpMetrics,
};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How long a refused request's body may still take to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Which requests are under which policies.
pub struct RateLimit {
    limiter: Arc<Limiter>,
    default: Policy,
    rules: Vec<RateLimitRule>,
    exempt: Vec<IpNet>,
    ipv6_prefix: u8,
}

/// A policy, and the requests that it covers.
pub struct RateLimitRule {
    /// The policy.
    pub policy: Policy,
    /// Its routes; empty: all.
    pub routes: Vec<Route>,
    /// Its clients' networks; empty: all.
    pub clients: Vec<IpNet>,
}

impl RateLimit {
    /// A request that any of `rules` covers is under all that cover it, every other one under `default`.
    /// Clients in `exempt` are not limited.
    pub fn new(
        limiter: Arc<Limiter>,
        default: Policy,
        rules: Vec<RateLimitRule>,
        exempt: Vec<IpNet>,
        ipv6_prefix: u8,
    ) -> Self {
        Self {
            limiter,
            default,
            rules,
            exempt,
            ipv6_prefix,
        }
    }

    fn policies(&self, route: Route, client: IpAddr) -> Vec<&Policy> {
        let within = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&client));
        if within(&self.exempt) {
            return Vec::new();
        }
        let covering: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.routes.is_empty() || rule.routes.contains(&route))
            .filter(|rule| rule.clients.is_empty() || within(&rule.clients))
            .map(|rule| &rule.policy)
            .collect();
        if covering.is_empty() {
            vec![&self.default]
        } else {
            covering
        }
    }

    /// Logs the request under every policy that covers it.
    async fn rule(&self, route: Route, client: IpAddr) -> Verdict<'_> {
        let policies = self.policies(route, client);
        let client = ClientId::new(client, self.ipv6_prefix);
        let rulings = match policies[..] {
            [policy] => vec![self.limiter.decide(policy, client).await],
            _ => {
                join_all(
                    policies
                        .iter()
                        .map(|policy| self.limiter.decide(policy, client)),
                )
                .await
            }
        };
        Verdict(policies.into_iter().zip(rulings).collect())
    }
}

/// What all policies together say about a request.
struct Verdict<'a>(Vec<(&'a Policy, Ruling)>);

impl Verdict<'_> {
    fn error(&self) -> Option<ApiError> {
        let decided = |wanted: fn(&Ruling) -> bool| self.0.iter().any(|(_, r)| wanted(r));
        if decided(|ruling| matches!(ruling, Ruling::Unavailable)) {
            Some(ApiError::Unavailable)
        } else if decided(|ruling| matches!(ruling, Ruling::Decided(d, _) if !d.admitted)) {
            Some(ApiError::RateLimited)
        } else {
            None
        }
    }

    fn count(&self, metrics: &HttpMetrics) {
        for (policy, ruling) in &self.0 {
            let (outcome, source) = match ruling {
                Ruling::Decided(decision, source) => {
                    let outcome = if decision.admitted {
                        "admitted"
                    } else {
                        "refused"
                    };
                    let source = match source {
                        Source::Redis => "redis",
                        Source::Shield => "shield",
                        Source::Local => "local",
                    };
                    (outcome, source)
                }
                Ruling::Unlimited => ("unlimited", "none"),
                Ruling::Unavailable => ("unavailable", "none"),
            };
            let labels = [policy.name.as_str(), outcome, source];
            metrics.decisions.with_label_values(&labels).inc();
        }
    }

    /// `RateLimit-Policy` and `RateLimit` for every policy (IETF draft-ietf-httpapi-ratelimit-headers-10);
    /// the older `X-RateLimit-*` for the one that is nearest to refusing; on a refusal `Retry-After`.
    /// All times are seconds from now, so no clock but the limiter's matters.
    fn add_headers(&self, headers: &mut HeaderMap) {
        let mut policies = String::new();
        let mut states = String::new();
        let mut nearest: Option<(&Policy, Decision)> = None;
        for (policy, ruling) in &self.0 {
            let Policy { name, quota } = policy;
            let separator = if policies.is_empty() { "" } else { ", " };
            let (limit, window) = (quota.limit(), quota.window_seconds());
            // Writing to a String cannot fail.
            let _ = write!(policies, "{separator}\"{name}\";q={limit};w={window}");
            let Ruling::Decided(decision, _) = ruling else {
                continue;
            };
            let separator = if states.is_empty() { "" } else { ", " };
            let (remaining, reset) = (decision.remaining, decision.reset_seconds());
            let _ = write!(states, "{separator}\"{name}\";r={remaining};t={reset}");
            let nearness =
                |d: &Decision| (d.admitted, d.remaining, std::cmp::Reverse(d.reset_after));
            if nearest.is_none_or(|(_, other)| nearness(decision) < nearness(&other)) {
                nearest = Some((policy, *decision));
            }
        }
        let mut insert = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        if !policies.is_empty() {
            insert(RATE_LIMIT_POLICY, policies);
        }
        if let Some((policy, decision)) = nearest {
            insert(RATE_LIMIT, states);
            insert(X_LIMIT, policy.quota.limit().to_string());
            insert(X_REMAINING, decision.remaining.to_string());
            insert(X_RESET, decision.reset_seconds().to_string());
            if !decision.admitted {
                insert(header::RETRY_AFTER, decision.reset_seconds().to_string());
                insert(header::CACHE_CONTROL, "no-store".to_owned());
            }
        }
    }
}

/// The middleware: decides first, so that a refused request costs nothing more.
pub(super) async fn rate_limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let caller = request.extensions().get::<Caller>().copied();
    let state = request.app_data::<Data<AppState>>().cloned();
    let (Some(caller), Some(state)) = (caller, state) else {
        return Ok(refuse(request, &ApiError::Unavailable));
    };
    let client = match caller.client {
        Ok(client) => client,
        Err(error) => {
            return Ok(refuse(
                request,
                &ApiError::Malformed(super::error::sentence(error)),
            ));
        }
    };
    let Some(limit) = &state.rate_limit else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let verdict = limit.rule(caller.route, client).await;
    verdict.count(&state.metrics);
    let mut response = match verdict.error() {
        Some(error) => refuse_keeping_connection(request, &error).await,
        None => next.call(request).await?.map_into_boxed_body(),
    };
    verdict.add_headers(response.headers_mut());
    Ok(response)
}

/// Refuses, but first takes in a body that is on its way anyhow: actix-web closes a connection whose request was
/// not read to its end, and a client that is over its quota (or nginx in front of many) would connect anew
/// for every refusal.
async fn refuse_keeping_connection(
    request: ServiceRequest,
    error: &ApiError,
) -> ServiceResponse<BoxBody> {
    let (request, mut payload) = request.into_parts();
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| (1..=MAX_BODY).contains(&length)) {
        let drain = async { while let Some(Ok(_)) = payload.next().await {} };
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
    }
    ServiceResponse::from_err(error.clone(), request)
}

fn refuse(request: ServiceRequest, error: &ApiError) -> ServiceResponse<BoxBody> {
    let (request, _) = request.into_parts();
    ServiceResponse::from_err(error.clone(), request)
}
