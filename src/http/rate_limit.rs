//! Asks the limiter, and tells the client in headers.

mod headers;

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Payload};
use futures_util::{StreamExt, future::join_all};
use ipnet::IpNet;
use smallvec::{SmallVec, smallvec};
use tokio::time::timeout;

use self::headers::Announcement;

use super::{AppState, HttpMetrics, net::Intake, problem::ApiError, routes, shorten::MAX_BODY};
use crate::{
    limiter::{ClientId, Limiter, Outcome, Policy, Source},
    public::Route,
};

/// How long a refused request's body may still take to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Which requests are under which policies.
pub struct RateLimit {
    limiter: Arc<Limiter>,
    default: Announcement,
    rules: Vec<Rule>,
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

struct Rule {
    policy: Announcement,
    routes: Vec<Route>,
    clients: Vec<IpNet>,
}

/// Nearly always one.
type PerPolicy<T> = SmallVec<[T; 1]>;

impl RateLimit {
    /// A request that any of `rules` covers is under all that cover it, every other one under `default`.
    /// Clients in `exempt` are not limited, nor are routes that the table of routes exempts.
    pub fn new(
        limiter: Arc<Limiter>,
        default: Policy,
        rules: Vec<RateLimitRule>,
        exempt: Vec<IpNet>,
        ipv6_prefix: u8,
    ) -> Self {
        let rules = rules.into_iter().map(|rule| Rule {
            policy: Announcement::new(rule.policy),
            routes: rule.routes,
            clients: rule.clients,
        });
        Self {
            limiter,
            default: Announcement::new(default),
            rules: rules.collect(),
            exempt,
            ipv6_prefix,
        }
    }

    fn policies(&self, route: Route, client: IpAddr) -> PerPolicy<&Announcement> {
        let within = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&client));
        if !route.is_limited() || within(&self.exempt) {
            return SmallVec::new();
        }
        let covering: PerPolicy<_> = self
            .rules
            .iter()
            .filter(|rule| rule.routes.is_empty() || rule.routes.contains(&route))
            .filter(|rule| rule.clients.is_empty() || within(&rule.clients))
            .map(|rule| &rule.policy)
            .collect();
        if covering.is_empty() {
            smallvec![&self.default]
        } else {
            covering
        }
    }

    /// Logs the request under every policy that covers it.
    async fn rule(&self, route: Route, client: IpAddr) -> Verdict<'_> {
        let policies = self.policies(route, client);
        let client = ClientId::new(client, self.ipv6_prefix);
        if let [policy] = policies[..] {
            let ruling = self.limiter.decide(policy.policy(), client).await;
            return Verdict(smallvec![(policy, ruling)]);
        }
        let decisions = policies
            .iter()
            .map(|policy| self.limiter.decide(policy.policy(), client));
        let rulings = join_all(decisions).await;
        Verdict(policies.into_iter().zip(rulings).collect())
    }
}

/// What all policies together say about a request.
struct Verdict<'a>(PerPolicy<(&'a Announcement, Outcome)>);

impl Verdict<'_> {
    fn error(&self) -> Option<ApiError> {
        let decided = |wanted: fn(&Outcome) -> bool| self.0.iter().any(|(_, r)| wanted(r));
        if decided(|ruling| matches!(ruling, Outcome::Unavailable)) {
            Some(ApiError::Unavailable)
        } else if decided(|ruling| matches!(ruling, Outcome::Decided(d, _) if !d.admitted)) {
            Some(ApiError::RateLimited)
        } else {
            None
        }
    }

    fn count(&self, metrics: &HttpMetrics) {
        for (announcement, ruling) in &self.0 {
            let (outcome, source) = match ruling {
                Outcome::Decided(decision, source) => {
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
                Outcome::Unlimited => ("unlimited", "none"),
                Outcome::Unavailable => ("unavailable", "none"),
            };
            let labels = [announcement.policy().name.as_str(), outcome, source];
            metrics.decisions.with_label_values(&labels).inc();
        }
    }
}

/// Decides first, so that a refused request costs nothing more.
pub(super) async fn rate_limit(
    state: &AppState,
    route: Route,
    client: IpAddr,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let Some(limit) = &state.rate_limit else {
        let answer = routes::answer(state, route, request, payload).await;
        return answer.unwrap_or_else(|error| error.answer(request));
    };
    let verdict = limit.rule(route, client).await;
    verdict.count(&state.metrics);
    let answer = match verdict.error() {
        Some(error) => {
            take_in(request, payload).await;
            Err(error)
        }
        None => routes::answer(state, route, request, payload).await,
    };
    let mut response = answer.unwrap_or_else(|error| error.answer(request));
    headers::add(response.headers_mut(), &verdict.0);
    response
}

/// Takes in a body that is on its way anyhow: actix-web closes a connection whose request was not read to its end, and
/// a client that is over its quota (or nginx in front of many) would connect anew for every refusal.
async fn take_in(request: &HttpRequest, mut payload: Payload) {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| (1..=MAX_BODY).contains(&length)) {
        let _taking = Intake::take_body(request);
        let drain = async { while let Some(Ok(_)) = payload.next().await {} };
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
    }
}
