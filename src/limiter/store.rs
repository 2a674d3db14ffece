//! The trait that every store of window logs implements.

use async_trait::async_trait;

use super::{ClientId, Decision, LogTime, Policy};

/// Where the window logs live. The store owns the clock.
///
/// `tests/it/stores/windows.rs` is the contract, run on every implementation.
#[async_trait]
pub trait WindowStore: Send + Sync {
    /// The name in metrics and logs.
    fn name(&self) -> &'static str;

    /// The present on the clock that this store's logs are kept in.
    fn now(&self) -> LogTime;

    /// Logs a request of `client` that arrived at `at` and decides it under `policy`.
    ///
    /// Entries only ever leave a log by age or because L + 1 newer ones stand in it.
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
    /// The key of this one log holds something else. Nothing is wrong with any other.
    #[error("the key {key} holds something else than a window log")]
    Key {
        /// Its name.
        key: String,
        /// What the store said.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store works, but not as it is configured: that needs a person.
    #[error("{0}")]
    Misconfigured(
        Misconfiguration,
        #[source] Box<dyn std::error::Error + Send + Sync>,
    ),
    /// The store answered with an error, or the connection broke.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection could be had from the pool.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misconfiguration {
    /// Redis does not know the user, or does not let it do what is needed.
    #[error("Redis refuses the user of redis.url, its password, or what has to be done")]
    Permission {
        /// The command that grants exactly what is needed.
        grant: String,
    },
    /// It is one server of a cluster, which serves some clients and sends others away.
    #[error(
        "redis.url leads to one server of a Redis Cluster, which serves a part of all keys; write redis+cluster://host:port"
    )]
    ClusterMember,
}

impl Misconfiguration {
    /// The command that an operator has to run, if one helps.
    pub fn grant(&self) -> Option<&str> {
        match self {
            Self::Permission { grant } => Some(grant),
            Self::ClusterMember => None,
        }
    }
}

impl WindowStoreError {
    /// A short label for metrics: `timeout`, `disconnected`, `key`, `refused`, `failed` or `connect`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Disconnected => "disconnected",
            Self::Key { .. } => "key",
            Self::Misconfigured(..) => "refused",
            Self::Failed(_) => "failed",
            Self::Connect(_) => "connect",
        }
    }
}
