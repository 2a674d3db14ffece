//! The trait that every store of window logs implements, and its errors.

use async_trait::async_trait;

use super::{ClientId, Decision, LogTime, Policy};

/// Keeps window logs, by a clock of its own.
///
/// `tests/it/stores/windows.rs` is the contract, and runs on every implementation.
#[async_trait]
pub trait WindowStore: Send + Sync {
    /// The name in metrics and logs.
    fn name(&self) -> &'static str;

    /// The present time on the clock of this store's logs.
    fn now(&self) -> LogTime;

    /// Logs a request of `client` that arrived at `at` and decides it under `policy`.
    ///
    /// An entry leaves a log only by age, or because L + 1 newer entries are in it.
    ///
    /// # Errors
    /// [`WindowStoreError`] if the store could not decide. The request may or may not have been logged.
    async fn record_at(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<Decision, WindowStoreError>;

    /// Logs a request that arrives now.
    ///
    /// # Errors
    /// As [`record_at`](Self::record_at).
    async fn record(
        &self,
        policy: &Policy,
        client: ClientId,
    ) -> Result<Decision, WindowStoreError> {
        self.record_at(policy, client, self.now()).await
    }
}

/// Why a store could not decide.
#[derive(Debug, thiserror::Error)]
pub enum WindowStoreError {
    /// No answer within the bound that the store was given.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// There is no working connection at the moment.
    #[error("not connected")]
    Disconnected,
    /// The key of this one log holds something else. All other logs are fine.
    #[error("the key {key} holds something else than a window log")]
    Key {
        /// The name of the key.
        key: String,
        /// What the store answered.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store works, but not as it is configured: an operator has to change something.
    #[error("{0}")]
    Misconfigured(
        Misconfiguration,
        #[source] Box<dyn std::error::Error + Send + Sync>,
    ),
    /// The store has lost entries of window logs. It must not decide before it has them back.
    #[error("the store has lost window logs")]
    LostWrites,
    /// The store answered with an error.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke. What was sent on it may or may not have been done; a new connection may work.
    #[error("the connection was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another server process answers than before. It may have lost what the one before knew.
    #[error("the store was restarted, or another server answers")]
    Restarted,
    /// No connection could be made.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misconfiguration {
    /// Redis does not know the user, or does not allow it what Shunt needs.
    #[error(
        "Redis does not accept the user of redis.url or its password, or does not allow it what Shunt needs"
    )]
    Permission {
        /// The command that grants exactly what is needed.
        grant: String,
    },
    /// The URL leads to one server of a cluster, which has only a part of all keys.
    #[error(
        "redis.url leads to one server of a Redis Cluster, which serves a part of all keys; write redis+cluster://host:port"
    )]
    ClusterMember,
}

impl Misconfiguration {
    /// The command that an operator should run, if a command helps.
    pub fn grant(&self) -> Option<&str> {
        match self {
            Self::Permission { grant } => Some(grant),
            Self::ClusterMember => None,
        }
    }
}

impl WindowStoreError {
    /// A short label for metrics: `timeout`, `disconnected`, `key`, `refused`, `failed`, `lost`, `restarted`,
    /// `lost_writes` or `connect`. The label of [`Misconfigured`](Self::Misconfigured) is `refused`, as dashboards know it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Disconnected => "disconnected",
            Self::Key { .. } => "key",
            Self::Misconfigured(..) => "refused",
            Self::LostWrites => "lost_writes",
            Self::Failed(_) => "failed",
            Self::Lost(_) => "lost",
            Self::Restarted => "restarted",
            Self::Connect(_) => "connect",
        }
    }
}
