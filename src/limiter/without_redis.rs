//! Every decision that Redis does not make.
//!
//! [`Limiter`](super::Limiter) comes here for three reasons ([`NoRedis`]), and gets an [`Outcome`] for each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ClientId, MemoryStore, Outcome, Policy, Source, WindowStore};

/// What the limiter does while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRedisFailure {
    /// The same quotas, and each node counts for itself.
    Local,
    /// No limit.
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
    /// There is none: every request is decided here.
    NotConfigured,
    /// Redis is away, or cannot be used as it is configured.
    Away,
    /// Redis is there, but the key of this client's log holds something else.
    ForThisClient,
}

/// Decides requests with what this process knows.
pub(super) struct WithoutRedis {
    local: MemoryStore,
    during_outage: OnRedisFailure,
}

impl WithoutRedis {
    pub(super) fn new(local: MemoryStore, during_outage: OnRedisFailure) -> Self {
        Self {
            local,
            during_outage,
        }
    }

    /// Decides a request that arrives now.
    pub(super) fn decide(&self, why: NoRedis, policy: &Policy, client: ClientId) -> Outcome {
        match (why, self.during_outage) {
            // One client must not fare better or worse than all others because of its key: `allow` and `deny` are for
            // outages.
            (NoRedis::NotConfigured | NoRedis::ForThisClient, _)
            | (NoRedis::Away, OnRedisFailure::Local) => self.count(policy, client),
            (NoRedis::Away, OnRedisFailure::Allow) => Outcome::Unlimited,
            (NoRedis::Away, OnRedisFailure::Deny) => Outcome::Unavailable,
        }
    }

    fn count(&self, policy: &Policy, client: ClientId) -> Outcome {
        let decision = self.local.decide(policy, client, self.local.now());
        Outcome::Decided(decision, Source::Local)
    }

    /// Whether requests get anything but [`Outcome::Unavailable`] while Redis is away.
    pub(super) fn serves_during_outage(&self) -> bool {
        self.during_outage != OnRedisFailure::Deny
    }

    pub(super) fn local(&self) -> &MemoryStore {
        &self.local
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde::de::{IntoDeserializer, value};

    use super::*;

    const ALL: [OnRedisFailure; 3] = [
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

    #[test]
    fn what_is_configured_for_an_outage_holds_only_during_an_outage() {
        let policy = Policy::default_policy("1/minute".parse().expect("a quota"));
        let client = ClientId::new(Ipv4Addr::LOCALHOST.into(), 64);
        for choice in ALL {
            let decides = |why| {
                let limiter = WithoutRedis::new(MemoryStore::new(1 << 20), choice);
                limiter.decide(why, &policy, client)
            };
            for why in [NoRedis::NotConfigured, NoRedis::ForThisClient] {
                assert!(matches!(decides(why), Outcome::Decided(_, Source::Local)));
            }
            let expected = match choice {
                OnRedisFailure::Local => matches!(decides(NoRedis::Away), Outcome::Decided(..)),
                OnRedisFailure::Allow => decides(NoRedis::Away) == Outcome::Unlimited,
                OnRedisFailure::Deny => decides(NoRedis::Away) == Outcome::Unavailable,
            };
            assert!(expected, "{choice}");
        }
    }
}
