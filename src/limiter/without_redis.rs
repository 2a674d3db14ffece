//! Every decision that a node on Redis makes without Redis.
//!
//! [`RedisLimiter`](super::with_redis::RedisLimiter) comes here for three reasons ([`NoRedis`]), and gets an [`Outcome`]
//! for each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Outcome, Policy, Source, journal::Pending, nodes::Nodes};

/// What the limiter does while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRedisFailure {
    /// The nodes divide what is left of each quota.
    Split,
    /// The whole quota, on each node.
    Local,
    /// No limit, except that each node counts attempts to guess a password for itself, as with [`Local`](Self::Local).
    Allow,
    /// Every limited request is answered as unavailable.
    Deny,
}

/// As in the configuration.
impl fmt::Display for OnRedisFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why Redis does not decide a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRedis {
    /// Redis is away, or cannot be used as it is configured.
    Away,
    /// Redis is there as far as is known, but has not answered this request in time. It may have logged it.
    Unanswered,
    /// Redis is there, but the key of this client's log holds something else.
    ForThisClient,
}

/// Decides requests with what this node knows.
pub(super) struct WithoutRedis {
    during_outage: OnRedisFailure,
    nodes: Nodes,
}

impl WithoutRedis {
    pub(super) fn new(during_outage: OnRedisFailure, nodes: Nodes) -> Self {
        Self {
            during_outage,
            nodes,
        }
    }

    /// Decides a request that is in the journal.
    pub(super) fn decide(&self, why: NoRedis, pending: &Pending<'_>) -> Outcome {
        match (why, self.choice(pending.whose().0)) {
            // One client must not fare better or worse than all others because of its key: `allow` and `deny` are for
            // outages.
            (NoRedis::ForThisClient, _) | (_, OnRedisFailure::Split | OnRedisFailure::Local) => {
                Outcome::Decided(pending.alone(self.divisor()), Source::Local)
            }
            (NoRedis::Away | NoRedis::Unanswered, OnRedisFailure::Allow) => Outcome::Unlimited,
            (NoRedis::Away | NoRedis::Unanswered, OnRedisFailure::Deny) => Outcome::Unavailable,
        }
    }

    /// What holds for a policy while Redis is away.
    fn choice(&self, policy: &Policy) -> OnRedisFailure {
        match self.during_outage {
            OnRedisFailure::Allow if policy.name.bounds_guesses() => OnRedisFailure::Local,
            choice => choice,
        }
    }

    /// What is answered during an outage without counting: nothing while the nodes count under this policy.
    pub(super) fn uncounted(&self, policy: &Policy) -> Option<Outcome> {
        match self.choice(policy) {
            OnRedisFailure::Split | OnRedisFailure::Local => None,
            OnRedisFailure::Allow => Some(Outcome::Unlimited),
            OnRedisFailure::Deny => Some(Outcome::Unavailable),
        }
    }

    /// By how many nodes each quota is divided.
    pub(super) fn divisor(&self) -> usize {
        match self.during_outage {
            OnRedisFailure::Split => self.nodes.number().get() as usize,
            _ => 1,
        }
    }

    /// The nodes that divide the quotas.
    pub(super) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether requests get anything but [`Outcome::Unavailable`] while Redis is away.
    pub(super) fn serves_during_outage(&self) -> bool {
        self.during_outage != OnRedisFailure::Deny
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, num::NonZeroU32};

    use serde::de::{IntoDeserializer, value};

    use super::*;
    use crate::limiter::{ClientId, LogEntry, LogTime, PolicyName, journal::Journal};

    const ALL: [OnRedisFailure; 4] = [
        OnRedisFailure::Split,
        OnRedisFailure::Local,
        OnRedisFailure::Allow,
        OnRedisFailure::Deny,
    ];

    #[test]
    fn what_holds_is_read_as_it_is_printed_and_an_error_names_the_choices() {
        let read = |text: &str| -> Result<OnRedisFailure, value::Error> {
            OnRedisFailure::deserialize(text.into_deserializer())
        };
        for choice in ALL {
            assert_eq!(read(&choice.to_string()), Ok(choice));
        }
        let error = read("panic").expect_err("no choice");
        for choice in ALL {
            assert!(
                error.to_string().contains(&format!("`{choice}`")),
                "{error}"
            );
        }
    }

    /// What is said of the first request of a client, with three nodes.
    fn decide(choice: OnRedisFailure, policy: &Policy, why: NoRedis) -> Outcome {
        let client = ClientId::new(Ipv4Addr::LOCALHOST.into(), 64);
        let entry = LogEntry {
            at: LogTime::from_micros(1),
            member: 1,
        };
        let journal = Journal::new(1 << 20);
        let pending = journal.arrive(policy, client, entry);
        let pending = pending.continue_value().expect("no flood");
        let without = WithoutRedis::new(choice, Nodes::new(NonZeroU32::new(3)));
        without.decide(why, &pending)
    }

    #[test]
    fn attempts_to_guess_a_password_are_counted_even_if_all_else_is_allowed() {
        let policy = Policy {
            name: PolicyName::link_password(),
            quota: "9/minute".parse().expect("a quota"),
        };
        for (choice, left) in ALL.into_iter().zip([Some(2), Some(8), Some(8), None]) {
            for why in [NoRedis::Away, NoRedis::Unanswered] {
                let counted = match decide(choice, &policy, why) {
                    Outcome::Decided(decision, Source::Local) => Some(decision.remaining),
                    _ => None,
                };
                assert_eq!(counted, left, "{choice}");
            }
            let without = WithoutRedis::new(choice, Nodes::new(None));
            assert_eq!(without.uncounted(&policy).is_some(), left.is_none());
        }
    }

    #[test]
    fn what_is_configured_for_an_outage_holds_only_during_an_outage() {
        let policy = Policy::default_policy("9/minute".parse().expect("a quota"));
        for (choice, left) in ALL.into_iter().zip([2, 8, 8, 8]) {
            let decides = |why| decide(choice, &policy, why);
            let counts = |outcome| match outcome {
                Outcome::Decided(decision, Source::Local) => decision.remaining == left,
                _ => false,
            };
            assert!(counts(decides(NoRedis::ForThisClient)), "{choice}");
            for why in [NoRedis::Away, NoRedis::Unanswered] {
                let expected = match choice {
                    OnRedisFailure::Split | OnRedisFailure::Local => counts(decides(why)),
                    OnRedisFailure::Allow => decides(why) == Outcome::Unlimited,
                    OnRedisFailure::Deny => decides(why) == Outcome::Unavailable,
                };
                assert!(expected, "{choice}");
            }
        }
    }
}
