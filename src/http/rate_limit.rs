//! Asks the limiter, and tells the client the outcome in headers.

mod headers;
mod refused;

use std::{net::IpAddr, ops::Deref, sync::Arc};

use actix_web::http::header::HeaderMap;
use futures_util::future::join_all;
use ipnet::IpNet;
use smallvec::{SmallVec, smallvec};

use self::{headers::Announcement, refused::Refused};
use super::{HttpMetrics, edge::RequestContext, problem::ApiError};
use crate::{
    keys::VerifiedKey,
    limiter::{ClientId, Decision, Limiter, Outcome, Policy, PolicyName, Quota, Source},
    public::Route,
};

/// The prefix by which IPv6 clients are told apart where nothing else is configured.
const USUAL_IPV6_PREFIX: u8 = 64;

/// Which requests are under which policies.
pub struct RateLimit {
    limiter: Arc<Limiter>,
    default: Announcement,
    per_key: Announcement,
    key_attempts: Announcement,
    link_password: Announcement,
    /// Addresses that have made too many attempts.
    refused: Refused,
    rules: Vec<Rule>,
    exempt: Vec<IpNet>,
    ipv6_prefix: u8,
}

/// A policy, and the requests that it covers.
pub struct Rule {
    policy: Announcement,
    routes: Vec<Route>,
    clients: Vec<IpNet>,
}

/// For each policy that covers a request: nearly always one.
type PerPolicy<T> = SmallVec<[T; 1]>;

impl RateLimit {
    /// A request that `rules` cover is under every rule that covers it; any other request is under `default`. A request
    /// with a key is under none of these: it has the quota of its key, or `per_key`. Clients in `exempt` are not limited,
    /// nor are routes that the table of routes exempts.
    pub fn new(
        limiter: Arc<Limiter>,
        default: Policy,
        per_key: Quota,
        link_password: Quota,
        rules: Vec<Rule>,
        exempt: Vec<IpNet>,
        ipv6_prefix: u8,
    ) -> Self {
        Self {
            limiter,
            per_key: Announcement::new(Policy {
                name: PolicyName::per_key(),
                quota: per_key,
            }),
            key_attempts: Announcement::new(Policy {
                name: PolicyName::key_attempts(),
                quota: default.quota,
            }),
            link_password: Announcement::new(Policy {
                name: PolicyName::link_password(),
                quota: link_password,
            }),
            default: Announcement::new(default),
            refused: Refused::default(),
            rules,
            exempt,
            ipv6_prefix,
        }
    }

    /// The policies that cover a request.
    fn policies(&self, route: Route, client: IpAddr) -> PerPolicy<&Announcement> {
        if !route.is_limited() || contains(&self.exempt, client) {
            return SmallVec::new();
        }
        let covering: PerPolicy<_> = self
            .rules
            .iter()
            .filter(|rule| rule.covers(route, client))
            .map(|rule| &rule.policy)
            .collect();
        if covering.is_empty() {
            smallvec![&self.default]
        } else {
            covering
        }
    }

    /// Logs a request without a key under every policy that covers it.
    pub(super) async fn decide(&self, route: Route, client: IpAddr) -> Outcomes<'_> {
        let policies = self.policies(route, client);
        let client = ClientId::new(client, self.ipv6_prefix);
        if let [policy] = policies[..] {
            let outcome = self.limiter.decide(policy.policy(), client).await;
            return Outcomes(smallvec![(Announced::Configured(policy), outcome)]);
        }
        let decisions = policies
            .iter()
            .map(|policy| self.limiter.decide(policy.policy(), client));
        let outcomes = join_all(decisions).await;
        let policies = policies.into_iter().map(Announced::Configured);
        Outcomes(policies.zip(outcomes).collect())
    }

    /// Logs a request with this key, from `address`.
    pub(super) async fn decide_for_key(&self, address: IpAddr, key: &VerifiedKey) -> Outcomes<'_> {
        let policy = match key.quota {
            Some(quota) if quota != self.per_key.policy().quota => {
                let name = self.per_key.policy().name.clone();
                Announced::OwnQuota(Box::new(Announcement::new(Policy { name, quota })))
            }
            _ => Announced::Configured(&self.per_key),
        };
        self.decide_under(policy, address, ClientId::key(key.id.0))
            .await
    }

    /// How many requests a key may make.
    pub(super) fn quota_of(&self, key: &VerifiedKey) -> Quota {
        key.quota.unwrap_or(self.per_key.policy().quota)
    }

    /// Logs an attempt to use a key, from `address`.
    pub(super) async fn decide_attempt(&self, address: IpAddr) -> Outcomes<'_> {
        let policy = Announced::Configured(&self.key_attempts);
        let client = ClientId::new(address, self.ipv6_prefix);
        if let Some(left) = self.refused.left(client) {
            let refusal = Decision {
                admitted: false,
                remaining: 0,
                reset_after: left,
            };
            let refusal = Outcome::Decided(refusal, Source::Shield);
            return Outcomes(smallvec![(policy, refusal)]);
        }
        let outcomes = self.decide_under(policy, address, client).await;
        for (_, outcome) in &outcomes.0 {
            if let Outcome::Decided(decision, _) = outcome
                && !decision.admitted
            {
                self.refused.note(client, decision.reset_after);
            }
        }
        outcomes
    }

    /// Logs an attempt to give the password of the link that has this secret. A key has attempts of its own, as it has a
    /// quota of its own.
    pub(super) async fn decide_password(
        &self,
        address: IpAddr,
        key: Option<&VerifiedKey>,
        link: &[u8],
    ) -> Outcomes<'_> {
        let client = client_id(address, key, self.ipv6_prefix);
        let policy = Announced::Configured(&self.link_password);
        self.decide_under(policy, address, client.at_link(link))
            .await
    }

    /// What the limiter has said of such an attempt.
    pub(super) fn attempt_with_password(&self, outcome: Outcome) -> Outcomes<'_> {
        let policy = Announced::Configured(&self.link_password);
        Outcomes(smallvec![(policy, outcome)])
    }

    /// Logs a request of `client` under one policy, unless its address is exempt.
    async fn decide_under<'a>(
        &self,
        policy: Announced<'a>,
        address: IpAddr,
        client: ClientId,
    ) -> Outcomes<'a> {
        if contains(&self.exempt, address) {
            return Outcomes::default();
        }
        let outcome = self.limiter.decide(policy.policy(), client).await;
        Outcomes(smallvec![(policy, outcome)])
    }
}

impl Rule {
    /// `policy` for the routes in `routes` (all if empty) and clients in the networks `clients` (all if empty).
    pub fn new(policy: Policy, routes: Vec<Route>, clients: Vec<IpNet>) -> Self {
        Self {
            policy: Announcement::new(policy),
            routes,
            clients,
        }
    }

    fn covers(&self, route: Route, client: IpAddr) -> bool {
        (self.routes.is_empty() || self.routes.contains(&route))
            && (self.clients.is_empty() || contains(&self.clients, client))
    }
}

/// The name of the client that a request counts for, as the limiter has it; also if there is no limit.
pub(super) fn client_name(limit: Option<&RateLimit>, context: &RequestContext) -> String {
    let prefix = limit.map_or(USUAL_IPV6_PREFIX, |limit| limit.ipv6_prefix);
    let key = context.key().map(|key| &**key);
    client_id(context.client(), key, prefix).to_string()
}

fn client_id(address: IpAddr, key: Option<&VerifiedKey>, ipv6_prefix: u8) -> ClientId {
    match key {
        Some(key) => ClientId::key(key.id.0),
        None => ClientId::new(address, ipv6_prefix),
    }
}

fn contains(networks: &[IpNet], client: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&client))
}

/// The policy that an outcome is about.
enum Announced<'a> {
    Configured(&'a Announcement),
    /// The quota of one key.
    OwnQuota(Box<Announcement>),
}

impl Deref for Announced<'_> {
    type Target = Announcement;

    fn deref(&self) -> &Announcement {
        match self {
            Self::Configured(announcement) => announcement,
            Self::OwnQuota(announcement) => announcement,
        }
    }
}

/// What the limiter says of a request, under each policy that covers it.
#[derive(Default)]
pub(super) struct Outcomes<'a>(PerPolicy<(Announced<'a>, Outcome)>);

impl<'a> Outcomes<'a> {
    /// What the limiter says under the first policy, if there is any.
    pub(super) fn first(&self) -> Option<Outcome> {
        self.0.first().map(|(_, outcome)| *outcome)
    }

    /// Adds what it says under other policies.
    pub(super) fn add(&mut self, others: Outcomes<'a>) {
        self.0.extend(others.0);
    }

    /// Whether nothing was logged.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why the request must not be answered, if so. It must be admitted under every policy.
    pub(super) fn error(&self) -> Option<ApiError> {
        let any = |wanted: fn(&Outcome) -> bool| self.0.iter().any(|(_, outcome)| wanted(outcome));
        if any(|outcome| matches!(outcome, Outcome::Unavailable)) {
            Some(ApiError::Unavailable)
        } else if any(|outcome| matches!(outcome, Outcome::Decided(d, _) if !d.admitted)) {
            Some(ApiError::RateLimited)
        } else {
            None
        }
    }

    /// Adds the headers that tell the client what is left of its quotas.
    pub(super) fn announce(&self, headers: &mut HeaderMap) {
        headers::add(headers, &self.0);
    }

    /// Counts each outcome.
    pub(super) fn count(&self, metrics: &HttpMetrics) {
        for (announcement, outcome) in &self.0 {
            let (outcome, source) = match outcome {
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
