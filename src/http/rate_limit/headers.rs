//! The headers that tell a client what is left of its quotas.
//!
//! They are on every answer under a limit, so this avoids `format!` and allocations, which took more instructions than
//! the decision.

use std::cmp::Reverse;

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    web::Bytes,
};

use super::Announced;
use crate::limiter::{Decision, Outcome, Policy};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A policy, and the parts of its headers that are always the same.
pub(super) struct Announcement {
    policy: Policy,
    /// `"default"`
    name: String,
    /// `"default";q=10;w=60`
    item: String,
}

impl Announcement {
    pub(super) fn new(policy: Policy) -> Self {
        let Policy { name, quota } = &policy;
        let (limit, window) = (quota.limit(), quota.window_seconds());
        Self {
            name: format!("\"{name}\""),
            item: format!("\"{name}\";q={limit};w={window}"),
            policy,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// Adds `RateLimit-Policy` and `RateLimit` for every policy (IETF draft-ietf-httpapi-ratelimit-headers-10), the older
/// `X-RateLimit-*` for the policy that is nearest to refusing, and on a refusal `Retry-After`. All times are seconds
/// from now, so no clock but the limiter's matters.
pub(super) fn add(headers: &mut HeaderMap, outcomes: &[(Announced<'_>, Outcome)]) {
    let mut policies = Vec::with_capacity(64);
    let mut states = Vec::with_capacity(64);
    let mut nearest: Option<(&Policy, Decision)> = None;
    for (announcement, outcome) in outcomes {
        push_item(&mut policies, &announcement.item);
        let Outcome::Decided(decision, _) = outcome else {
            continue;
        };
        push_item(&mut states, &announcement.name);
        states.extend_from_slice(b";r=");
        states.extend_from_slice(number(decision.remaining.into()).as_bytes());
        states.extend_from_slice(b";t=");
        states.extend_from_slice(number(decision.reset_seconds()).as_bytes());
        let nearness = |d: &Decision| (d.admitted, d.remaining, Reverse(d.reset_after));
        if nearest.is_none_or(|(_, other)| nearness(decision) < nearness(&other)) {
            nearest = Some((&announcement.policy, *decision));
        }
    }
    if let Some(policies) = list(policies) {
        headers.insert(RATE_LIMIT_POLICY, policies);
    }
    if let (Some((policy, decision)), Some(states)) = (nearest, list(states)) {
        headers.insert(RATE_LIMIT, states);
        headers.insert(X_LIMIT, number(policy.quota.limit().into()));
        headers.insert(X_REMAINING, number(decision.remaining.into()));
        headers.insert(X_RESET, number(decision.reset_seconds()));
        if !decision.admitted {
            headers.insert(RETRY_AFTER, number(decision.reset_seconds()));
        }
    }
}

fn push_item(list: &mut Vec<u8>, item: &str) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(item.as_bytes());
}

fn list(items: Vec<u8>) -> Option<HeaderValue> {
    let empty = items.is_empty();
    let value = HeaderValue::from_maybe_shared(Bytes::from(items)).ok();
    value.filter(|_| !empty)
}

/// A number as a header. Nearly all are small, and these need no allocation. An answer has up to six of them, and each
/// takes 60 instructions instead of the 450 of `HeaderValue::from`.
fn number(number: u64) -> HeaderValue {
    const ONE_DIGIT: &str = "0123456789";
    const TWO_DIGITS: &str = "\
        10111213141516171819202122232425262728293031323334353637383940414243444546474849\
        50515253545556575859606162636465666768697071727374757677787980818283848586878889\
        90919293949596979899";
    match number {
        0..10 => HeaderValue::from_static(&ONE_DIGIT[number as usize..][..1]),
        10..100 => HeaderValue::from_static(&TWO_DIGITS[(number as usize - 10) * 2..][..2]),
        _ => HeaderValue::from(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_numbers() {
        for value in (0..1_100).chain([u64::MAX]) {
            assert_eq!(number(value), value.to_string());
        }
    }
}
