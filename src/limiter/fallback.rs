//! The limiter as the service uses it: Redis if it is there, and what to do while it is not.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Breaker, ClientId, ClockStep, Decision, MemoryStore, Policy, RedisOperation, Refusal,
    ShieldedRedis, StoreError, WindowStore, once_a_minute::OnceAMinute,
};
use crate::telemetry::chain;

/// How often Redis's clock is measured while it answers.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// How often Redis is tried while it is away.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How often clients that no longer count are forgotten even if nobody else comes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// What holds while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRedisFailure {
    /// The same quotas, counted by each node for itself.
    Local,
    /// No limit.
    Allow,
    /// Every limited request is refused as unavailable.
    Deny,
}

impl FromStr for OnRedisFailure {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err("expected `local`, `allow` or `deny`"),
        }
    }
}

impl fmt::Display for OnRedisFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The log in Redis, shared by all nodes.
    Redis,
    /// This node, which knew what Redis would say.
    Shield,
    /// The log in this process.
    Local,
}

/// What the limiter says about a request under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A window log decided.
    Decided(Decision, Source),
    /// Redis is away and [`OnRedisFailure::Allow`] holds: admitted, nothing is known of the quota.
    Unlimited,
    /// Redis is away and [`OnRedisFailure::Deny`] holds.
    Unavailable,
}

/// Decides requests, in Redis if there is one, and never waits for a Redis that is known to be away.
pub struct Limiter {
    shared: Option<Shared>,
    local: MemoryStore,
}

struct Shared {
    redis: ShieldedRedis,
    breaker: Breaker,
    on_failure: OnRedisFailure,
    /// What is wrong with the configuration, as far as it was logged.
    refusal: Mutex<Option<Refusal>>,
    bad_key: OnceAMinute,
}

impl Limiter {
    /// A limiter for this process alone.
    pub fn embedded(local: MemoryStore) -> Self {
        Self {
            shared: None,
            local,
        }
    }

    /// A limiter shared by all nodes that use the same Redis. Tries to connect once; if that fails it
    /// starts with the breaker open. [`supervise`](Self::supervise) must run for it to recover.
    ///
    /// # Errors
    /// [`Refusal::ClusterMember`]: it will not go away by itself, and a node that starts serves nobody yet.
    pub async fn shared(
        redis: ShieldedRedis,
        local: MemoryStore,
        on_failure: OnRedisFailure,
    ) -> Result<Self, StoreError> {
        let shared = Shared {
            redis,
            breaker: Breaker::default(),
            on_failure,
            refusal: Mutex::default(),
            bad_key: OnceAMinute::default(),
        };
        match shared.redis.store().reconnect().await {
            Ok(()) => shared.notice_clock_step(),
            Err(error @ StoreError::Refused(Refusal::ClusterMember, _)) => return Err(error),
            Err(error) => shared.failed(&error, 0),
        }
        Ok(Self {
            shared: Some(shared),
            local,
        })
    }

    /// Logs a request of `client` and decides it under `policy`.
    pub async fn decide(&self, policy: &Policy, client: ClientId) -> Ruling {
        let Some(shared) = &self.shared else {
            return self.decide_locally(policy, client);
        };
        if let Some(generation) = shared.breaker.closed_generation() {
            let now = shared.redis.store().now();
            match shared.redis.record_at(policy, client, now).await {
                Ok((decision, source)) => return Ruling::Decided(decision, source),
                // Whatever holds while Redis is away: for everybody else, it is there.
                Err(error @ StoreError::Key { .. }) => {
                    shared.found_bad_key(&error);
                    return self.decide_locally(policy, client);
                }
                Err(error) => shared.failed(&error, generation),
            }
        }
        match shared.on_failure {
            OnRedisFailure::Local => self.decide_locally(policy, client),
            OnRedisFailure::Allow => Ruling::Unlimited,
            OnRedisFailure::Deny => Ruling::Unavailable,
        }
    }

    fn decide_locally(&self, policy: &Policy, client: ClientId) -> Ruling {
        let decision = self.local.decide(policy, client, self.local.now());
        Ruling::Decided(decision, Source::Local)
    }

    /// The background work, until `stop`: watches Redis and its clock, brings the connection back
    /// after a failure, tells Redis what the shield has refused, and forgets idle clients. Call it when no more
    /// requests come: it ends with nothing left to tell.
    pub async fn supervise(&self, stop: CancellationToken) {
        let watch = async {
            match &self.shared {
                Some(shared) => join(shared.watch(), shared.write_back()).await,
                None => std::future::pending().await,
            }
        };
        let sweep = async {
            loop {
                sleep(SWEEP_INTERVAL).await;
                self.local.sweep();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            ((), ()) = watch => {}
            () = sweep => {}
        }
        if let Some(shared) = &self.shared {
            shared.write_back_once().await;
        }
    }

    /// The store in this process.
    pub fn local(&self) -> &MemoryStore {
        &self.local
    }

    /// Redis and its breaker, if there is one.
    pub fn redis(&self) -> Option<(&ShieldedRedis, &Breaker)> {
        self.shared
            .as_ref()
            .map(|shared| (&shared.redis, &shared.breaker))
    }

    /// Whether limited requests can be decided or let through now.
    pub fn can_serve(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            !shared.breaker.is_open() || shared.on_failure != OnRedisFailure::Deny
        })
    }
}

impl Shared {
    /// Opens the breaker, and says so once.
    fn failed(&self, error: &StoreError, generation: u64) {
        if self.breaker.trip(generation) {
            self.redis.forget();
            if !self.is_refused(error) {
                warn!(
                    error = chain(error),
                    meanwhile = %self.on_failure,
                    "redis is away"
                );
            }
        }
    }

    /// Whether Redis is there, but not as the configuration says. Says so once, whenever it is noticed.
    fn is_refused(&self, error: &StoreError) -> bool {
        let StoreError::Refused(refusal, _) = error else {
            return false;
        };
        let mut said = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref() != Some(refusal) {
            warn!(
                error = chain(error),
                grant = refusal.grant(),
                meanwhile = %self.on_failure,
                "redis cannot be used as it is configured"
            );
            *said = Some(refusal.clone());
        }
        true
    }

    fn found_bad_key(&self, error: &StoreError) {
        if self.bad_key.is_due() {
            warn!(
                error = chain(error),
                "a client is counted by each node for itself: delete its key, or set redis.prefix"
            );
        }
    }

    /// Says that Redis's clock was stepped, and forgets what hangs on the times before it.
    fn notice_clock_step(&self) {
        let Some(ClockStep {
            redis_micros,
            log_micros,
        }) = self.redis.store().take_clock_step()
        else {
            return;
        };
        if log_micros < 0 {
            self.redis.forget();
        }
        let seconds = |micros: i64| format!("{:+.1}s", micros as f64 / 1e6);
        let (by, logs_by) = (seconds(redis_micros), seconds(log_micros));
        if log_micros.abs() < redis_micros.abs() / 2 {
            let message = if redis_micros < 0 {
                "redis's clock was set back; the window logs go on as if it were not"
            } else {
                "redis's clock was set forward; the window logs go on as if it were not, but for keys that have expired"
            };
            warn!(by, "{message}");
        } else {
            warn!(
                by,
                logs_by,
                "this node's time and redis's differ: redis's clock was stepped, or this machine stood still"
            );
        }
    }

    async fn watch(&self) {
        let mut away_since = None;
        loop {
            let Some(generation) = self.breaker.closed_generation() else {
                let since = *away_since.get_or_insert_with(std::time::Instant::now);
                let reconnect = self.redis.store().reconnect();
                match self
                    .redis
                    .measured(RedisOperation::Connect, reconnect)
                    .await
                {
                    Ok(()) => {
                        // What was refused meanwhile was refused by other rules.
                        self.redis.forget();
                        self.breaker.close();
                        away_since = None;
                        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
                        info!(away_for = ?since.elapsed(), "redis is back");
                        self.notice_clock_step();
                    }
                    Err(error) => {
                        // It may have been away for another reason before.
                        self.is_refused(&error);
                        sleep(PROBE_INTERVAL).await;
                    }
                }
                continue;
            };
            tokio::select! {
                () = self.breaker.opened() => {}
                () = sleep(CLOCK_INTERVAL) => {
                    let sample = self.redis.store().sample_clock();
                    if let Err(error) = self.redis.measured(RedisOperation::Time, sample).await {
                        self.failed(&error, generation);
                    }
                    self.notice_clock_step();
                }
            }
        }
    }

    async fn write_back(&self) {
        loop {
            sleep(self.redis.write_back_interval()).await;
            self.write_back_once().await;
        }
    }

    async fn write_back_once(&self) {
        if let Some(generation) = self.breaker.closed_generation() {
            let now = self.redis.store().now();
            if let Err(error) = self.redis.write_back(now).await {
                self.failed(&error, generation);
            }
        }
    }
}
