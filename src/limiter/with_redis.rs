//! Redis behind its breakers, one for each server: requests ask a server while it is there.

use std::{
    num::NonZeroU32,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use tokio::{sync::Mutex, time::Instant};

use super::{
    ClientId, JournaledRedis, LogTime, Misconfiguration, NoRedis, OnRedisFailure, Outcome, Policy,
    RedisOperation, RedisServer, Source, WindowStore, WindowStoreError,
    journaled_redis::{Undecided, WhyUndecided},
    nodes::Nodes,
    redis::Generation,
    report::Report,
    without_redis::WithoutRedis,
};

/// The limiter of a node on Redis. `supervise.rs` and `rejoin.rs` have its background work.
pub(super) struct RedisLimiter {
    pub(super) redis: JournaledRedis,
    pub(super) without_redis: WithoutRedis,
    /// Whether the journal's times are log times. Until the node has reached Redis, they are the boot clock's.
    pub(super) has_log_time: AtomicBool,
    /// Held by the request that looks whether Redis has lost writes. When the last look began that has found none.
    looking: Mutex<Option<Instant>>,
    pub(super) report: Report,
    times_opened: AtomicU64,
}

impl RedisLimiter {
    /// Tries to connect once. Where that fails, the breaker starts open. `nodes` is how many nodes there are, if that is
    /// configured.
    ///
    /// # Errors
    /// [`Misconfiguration::ClusterMember`]
    pub(super) async fn connect(
        redis: JournaledRedis,
        on_failure: OnRedisFailure,
        nodes: Option<NonZeroU32>,
    ) -> Result<Self, WindowStoreError> {
        let limiter = Self {
            redis,
            without_redis: WithoutRedis::new(on_failure, Nodes::new(nodes)),
            has_log_time: AtomicBool::new(false),
            looking: Mutex::const_new(None),
            report: Report::new(on_failure),
            times_opened: AtomicU64::new(0),
        };
        let store = limiter.redis.store();
        if let Err(error) = store.find().await {
            // No server is known. The breaker of the one that stands for all is open already.
            limiter.has_opened(&error, None);
            limiter.report.counts_alone(limiter.nodes());
            return Ok(limiter);
        }
        let servers = store.servers();
        let connecting = servers.iter().map(|server| store.connect_to(server));
        for (server, connected) in servers.iter().zip(join_all(connecting).await) {
            match connected {
                Ok(_) => {}
                Err(
                    error @ WindowStoreError::Misconfigured(Misconfiguration::ClusterMember, _),
                ) => {
                    return Err(error);
                }
                Err(error) => limiter.open_breaker(server, &error, 0),
            }
        }
        match store.settle_clock().await {
            Ok(()) => limiter.has_log_time.store(true, Ordering::Relaxed),
            Err(error) => {
                for server in &servers {
                    limiter.open_breaker(server, &error, 0);
                }
            }
        }
        limiter.notice_clock_step();
        limiter.count_nodes();
        if servers.iter().all(|server| server.breaker().is_open()) {
            limiter.report.counts_alone(limiter.nodes());
        }
        Ok(limiter)
    }

    /// Logs a request that arrives now and decides it: in Redis, unless its server is known to be away.
    pub(super) async fn decide(&self, policy: &Policy, client: ClientId) -> Outcome {
        let store = self.redis.store();
        let server = store.server_of(policy, client);
        let Some(generation) = server.breaker().closed_generation() else {
            return Box::pin(self.decide_during_outage(&server, policy, client)).await;
        };
        let now = match store.fresh_now() {
            Some(now) => now,
            None => match self.measured_now().await {
                Ok(now) => now,
                Err(why) => return self.decide_alone(why, policy, client),
            },
        };
        match self.redis.record_at(policy, client, now).await {
            Ok((decision, source)) => Outcome::Decided(decision, source),
            Err(undecided) => Box::pin(self.decide_without(undecided, &server, generation)).await,
        }
    }

    /// The log time after a measurement: this node has not measured Redis's clock for too long, and may have stood
    /// still.
    async fn measured_now(&self) -> Result<LogTime, NoRedis> {
        let store = self.redis.store();
        let server = store.server_with_clock();
        // In a box, because this future is large and hardly any request needs it.
        let measured = Box::pin(store.measured_now());
        let measured = self.redis.measured(RedisOperation::Time, measured).await;
        measured.map_err(|error| self.has_failed(&error, &server))
    }

    /// Decides a request while the breaker of its server is open.
    async fn decide_during_outage(
        &self,
        server: &RedisServer,
        policy: &Policy,
        client: ClientId,
    ) -> Outcome {
        let is_counted = self.without_redis.uncounted(policy).is_none();
        if !is_counted || !server.is_rejoining() {
            return self.decide_alone(NoRedis::Away, policy, client);
        }
        let now = self.redis.store().now();
        let nodes = self.without_redis.divisor();
        match self
            .redis
            .record_with_care(policy, client, now, nodes)
            .await
        {
            Ok((decision, source)) => Outcome::Decided(decision, source),
            Err(Undecided { pending, .. }) => self.without_redis.decide(NoRedis::Away, &pending),
        }
    }

    /// Decides a request without having asked Redis.
    fn decide_alone(&self, why: NoRedis, policy: &Policy, client: ClientId) -> Outcome {
        if let Some(outcome) = self.without_redis.uncounted(policy) {
            return outcome;
        }
        let store = self.redis.store();
        let now = if self.has_log_time.load(Ordering::Acquire) {
            store.now()
        } else {
            store.boot_now()
        };
        match self.redis.arrive(policy, client, now) {
            ControlFlow::Break(refusal) => Outcome::Decided(refusal, Source::Shield),
            ControlFlow::Continue(pending) => self.without_redis.decide(why, &pending),
        }
    }

    /// Decides a request that `server` has not decided. It began in `generation` of the server's breaker.
    async fn decide_without(
        &self,
        undecided: Undecided<'_>,
        server: &Arc<RedisServer>,
        generation: u64,
    ) -> Outcome {
        let Undecided { pending, why } = undecided;
        let (policy, client) = pending.whose();
        let last = self.redis.store().server_of(policy, client);
        let why = match why {
            WhyUndecided::Failed(error) => {
                if let WindowStoreError::Key { .. } = error {
                    pending.bar_client();
                }
                if Arc::ptr_eq(&last, server) {
                    self.failed(&error, server, generation)
                } else {
                    // The cluster has led the request to another server, where it failed.
                    self.has_failed(&error, &last)
                }
            }
            WhyUndecided::HasLost(decision) => {
                if let Err(why) = self.look_after(&last).await {
                    why
                } else {
                    // Redis has lost nothing. So somebody has removed this client's log, and wants it to be forgotten.
                    pending.forget_client();
                    return Outcome::Decided(decision, Source::Redis);
                }
            }
        };
        self.without_redis.decide(why, &pending)
    }

    /// Looks for losses after an answer of `server` that counts too few entries. Requests that have got such an answer
    /// before the look began share what it finds: if the logs of many clients are removed, they do not wait one after
    /// the other.
    async fn look_after(&self, server: &RedisServer) -> Result<(), NoRedis> {
        let answered = Instant::now();
        let mut looked = self.looking.lock().await;
        if server.breaker().is_open() {
            // Another request has found out why.
            return Err(NoRedis::Away);
        }
        if looked.is_some_and(|began| began > answered) {
            return Ok(());
        }
        let began = Instant::now();
        self.look_for_losses().await?;
        *looked = Some(began);
        Ok(())
    }

    /// Does as [`failed`](Self::failed) for something of which it is not known when it began.
    fn has_failed(&self, error: &WindowStoreError, server: &RedisServer) -> NoRedis {
        match server.breaker().closed_generation() {
            Some(generation) => self.failed(error, server, generation),
            None => NoRedis::Away,
        }
    }

    /// What follows from something that has failed, and began in `generation` of the server's breaker: the server is
    /// away, or one request has met a hiccup, or one client's key is not Shunt's.
    pub(super) fn failed(
        &self,
        error: &WindowStoreError,
        server: &RedisServer,
        generation: u64,
    ) -> NoRedis {
        if let WindowStoreError::Key { .. } = error {
            self.report.key_is_taken(error);
            NoRedis::ForThisClient
        } else if server.is_outage(error) {
            self.open_breaker(server, error, generation);
            NoRedis::Away
        } else {
            self.report.is_unanswered(error);
            server.suspect();
            NoRedis::Unanswered
        }
    }

    /// Beats, and takes in which nodes there are. The number is kept when Redis goes away.
    ///
    /// # Errors
    /// What follows for requests if the beat failed, or if Redis does not hold what it has held. Then the breaker of the
    /// server that holds the beats is open.
    pub(super) async fn look_for_losses(&self) -> Result<(), NoRedis> {
        let server = self.redis.store().server_with_nodes();
        let generation = server.breaker().closed_generation();
        let failed = |error: &WindowStoreError| match generation {
            Some(generation) => self.failed(error, &server, generation),
            None => NoRedis::Away,
        };
        match self.beat().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(failed(&WindowStoreError::LostWrites)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Beats. Returns the generation to enter if Redis has lost what nodes have written.
    pub(super) async fn beat(&self) -> Result<Option<Generation>, WindowStoreError> {
        let beat = self.redis.store().beat();
        match self.redis.measured(RedisOperation::Beat, beat).await {
            Ok(_) => {}
            // Another program uses the key. This concerns no request.
            Err(error @ WindowStoreError::Key { .. }) => self.report.no_beats(&error),
            Err(error) => return Err(error),
        }
        Ok(self.count_nodes())
    }

    /// Takes in which nodes there are. Returns the generation to enter if Redis has lost what nodes have written.
    pub(super) fn count_nodes(&self) -> Option<Generation> {
        let roster = self.redis.store().roster()?;
        self.nodes().are_counted(roster.nodes());
        roster.lost_writes()
    }

    /// Opens the server's breaker, unless it has changed since `generation`. Each outage is logged once.
    fn open_breaker(&self, server: &RedisServer, error: &WindowStoreError, generation: u64) {
        if server.trip(generation) {
            self.has_opened(error, server.address());
        }
    }

    pub(super) fn has_opened(&self, error: &WindowStoreError, server: Option<String>) {
        self.times_opened.fetch_add(1, Ordering::Relaxed);
        self.report.is_away(error, server, self.nodes());
    }

    /// How often a server went away since the start.
    pub(super) fn times_opened(&self) -> u64 {
        self.times_opened.load(Ordering::Relaxed)
    }

    /// How many servers there are, and the names of those that are away. A single server has no name.
    pub(super) fn away(&self) -> (usize, Vec<Option<String>>) {
        let servers = self.redis.store().servers();
        let away = servers.iter().filter(|server| server.breaker().is_open());
        (servers.len(), away.map(|server| server.address()).collect())
    }

    /// Logs a step of Redis's clock.
    pub(super) fn notice_clock_step(&self) {
        if let Some(step) = self.redis.store().take_clock_step() {
            self.report.clock_step(step);
        }
    }

    /// Whether requests get anything but [`Outcome::Unavailable`] while Redis is away.
    pub(super) fn can_serve_without_redis(&self) -> bool {
        self.without_redis.serves_during_outage()
    }

    pub(super) fn store(&self) -> &JournaledRedis {
        &self.redis
    }

    pub(super) fn nodes(&self) -> &Nodes {
        self.without_redis.nodes()
    }
}
