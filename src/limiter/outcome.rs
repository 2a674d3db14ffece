//! What the limiter answers.

use super::Decision;

/// What the limiter says of a request under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A window log decided.
    Decided(Decision, Source),
    /// Redis is away and [`OnRedisFailure::Allow`](super::OnRedisFailure::Allow) holds: the request is admitted, and
    /// nothing is known of the quota.
    Unlimited,
    /// Redis is away and [`OnRedisFailure::Deny`](super::OnRedisFailure::Deny) holds.
    Unavailable,
}

/// Which window log decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The log in Redis, which all nodes have in common.
    Redis,
    /// This node, which knew what Redis would say.
    Shield,
    /// The log in this process.
    Local,
}
