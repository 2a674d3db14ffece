//! Redis, and what this node remembers of the requests that it has sent there.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ClientId, Decision, LogEntry, LogTime, Policy, RedisOperation, RedisServer, RedisStore, Source,
    WindowStoreError,
    clients::Usage,
    journal::{Backlog, Journal, Pending},
};
use crate::telemetry::StoreMetrics;

/// How many backlogs are on their way to Redis at once.
const WRITES_AT_ONCE: usize = 32;

/// How often a write to a server that comes back is tried again, unless the server is away again.
const MOST_HICCUPS: u32 = 8;

/// The most entries in one write. Redis takes them in within about 3 ms, in which it serves nobody else. For 100,000
/// entries it would take longer than requests wait.
const ENTRIES_AT_ONCE: usize = 1_000;

/// The window logs in Redis, and the journal of this node. Clients that are certain to be refused cost no round trip.
pub struct JournaledRedis {
    redis: RedisStore,
    journal: Journal,
    write_back_interval: Duration,
    metrics: StoreMetrics<RedisOperation>,
}

/// A write that a server did not take.
#[derive(Debug)]
pub struct FailedWrite {
    /// Which one.
    pub server: Arc<RedisServer>,
    /// The state of the server's breaker when the write began.
    pub generation: u64,
    /// Why not.
    pub error: WindowStoreError,
}

/// A request that Redis has not decided.
#[derive(Debug)]
pub struct Undecided<'a> {
    pub(super) pending: Pending<'a>,
    pub(super) why: WhyUndecided,
}

/// Why Redis has not decided a request.
#[derive(Debug)]
pub(super) enum WhyUndecided {
    /// It has failed.
    Failed(WindowStoreError),
    /// It has answered so, but must have lost entries of the client.
    HasLost(Decision),
}

impl JournaledRedis {
    /// A journal of about `max_bytes` at most. What it remembers that Redis may not have is
    /// [written back](Self::write_back) every `write_back_interval`.
    pub fn new(
        redis: RedisStore,
        max_bytes: usize,
        write_back_interval: Duration,
        metrics: StoreMetrics<RedisOperation>,
    ) -> Self {
        Self {
            redis,
            journal: Journal::new(max_bytes),
            write_back_interval,
            metrics,
        }
    }

    /// Refuses floods without asking Redis.
    #[must_use]
    pub fn with_shield(mut self) -> Self {
        self.journal.refuse_floods(self.write_back_interval);
        self
    }

    /// The store behind the journal.
    pub fn store(&self) -> &RedisStore {
        &self.redis
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How often [`write_back`](Self::write_back) must be called.
    pub fn write_back_interval(&self) -> Duration {
        self.write_back_interval
    }

    /// How many clients are refused without asking at the moment, about.
    pub fn shielded_clients(&self) -> usize {
        self.journal.floods()
    }

    /// What the journal costs.
    pub fn usage(&self) -> Usage {
        self.journal.usage()
    }

    /// Logs a request of `client` that arrived at `at`, on Redis's clock, and decides it.
    ///
    /// # Errors
    /// [`Undecided`] if Redis had to decide and could not.
    pub async fn record_at<'a>(
        &'a self,
        policy: &'a Policy,
        client: ClientId,
        at: LogTime,
    ) -> Result<(Decision, Source), Undecided<'a>> {
        let mut pending = match self.arrive(policy, client, at) {
            ControlFlow::Break(refusal) => return Ok((refusal, Source::Shield)),
            ControlFlow::Continue(pending) => pending,
        };
        let why = match self.ask(&pending).await {
            Ok((decision, logged)) => {
                if pending.answered(logged, decision) {
                    return Ok((decision, Source::Redis));
                }
                WhyUndecided::HasLost(decision)
            }
            Err(error) => WhyUndecided::Failed(error),
        };
        Err(Undecided { pending, why })
    }

    /// Logs a request in Redis, to which not all nodes may have told what they know, together with what this node knows of
    /// the client. It is admitted if Redis admits it and this node, as one of `nodes`, would admit it alone.
    ///
    /// # Errors
    /// As [`record_at`](Self::record_at).
    pub(super) async fn record_with_care<'a>(
        &'a self,
        policy: &'a Policy,
        client: ClientId,
        at: LogTime,
        nodes: usize,
    ) -> Result<(Decision, Source), Undecided<'a>> {
        let mut pending = match self.arrive(policy, client, at) {
            ControlFlow::Break(refusal) => return Ok((refusal, Source::Shield)),
            ControlFlow::Continue(pending) => pending,
        };
        if self.redis.server_of(policy, client).may_have_lost_writes() {
            pending.bring_everything();
            if pending.earlier().len() > ENTRIES_AT_ONCE {
                // Too many for each request to bring. The node decides alone, and writes all of them back.
                let why = WhyUndecided::Failed(WindowStoreError::LostWrites);
                return Err(Undecided { pending, why });
            }
        }
        match self.ask(&pending).await {
            Ok((decision, logged)) => {
                let alone = pending.alone(nodes);
                pending.written(logged);
                Ok((decision.and(alone), Source::Local))
            }
            Err(error) => Err(Undecided {
                pending,
                why: WhyUndecided::Failed(error),
            }),
        }
    }

    async fn ask(&self, pending: &Pending<'_>) -> Result<(Decision, LogEntry), WindowStoreError> {
        let (policy, client) = pending.whose();
        let answer = self
            .redis
            .record_after(pending.earlier(), policy, client, pending.entry());
        self.measured(RedisOperation::Record, answer).await
    }

    /// Logs a request in the journal only. Breaks with a refusal if it is certain that Redis would refuse it.
    pub(super) fn arrive<'a>(
        &'a self,
        policy: &'a Policy,
        client: ClientId,
        at: LogTime,
    ) -> ControlFlow<Decision, Pending<'a>> {
        self.journal
            .arrive(policy, client, self.redis.new_entry(at))
    }

    /// Tells Redis what it may not have of the clients that are listed for it. What belongs to a server that is away
    /// stays.
    ///
    /// # Errors
    /// The first server that could not take its part; the rest stays for the next time. A client whose key holds
    /// something else is no error: its next request reports the key.
    pub async fn write_back(&self, now: LogTime) -> Result<(), FailedWrite> {
        let writes = stream::iter(self.journal.listed(now)).map(|backlog| async move {
            let server = self.redis.server_of(&backlog.policy, backlog.client);
            let Some(generation) = server.breaker().closed_generation() else {
                return Ok(());
            };
            self.write(&backlog, now)
                .await
                .map_err(|error| FailedWrite {
                    server: server.clone(),
                    generation,
                    error,
                })
        });
        // Stops at the first failure: if Redis does not answer, each further write would wait for the whole timeout.
        writes.buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    /// Tells a server all that the journal has, if it may have lost writes, otherwise all that it may not have.
    ///
    /// # Errors
    /// [`WindowStoreError`] if it could not take all of it.
    pub(super) async fn restore_all(
        &self,
        server: &Arc<RedisServer>,
        now: LogTime,
    ) -> Result<(), WindowStoreError> {
        if server.may_have_lost_writes() {
            for part in self.journal.everything(now) {
                self.restore_part(server, part, now).await?;
            }
        } else {
            for part in self.journal.unwritten() {
                self.restore_part(server, part, now).await?;
            }
        }
        Ok(())
    }

    /// Tells a server what it may not have of the clients that are listed for it. Unlike
    /// [`restore_all`](Self::restore_all), this does not look through all clients: a node that waits for the others does it
    /// again and again.
    ///
    /// # Errors
    /// As [`restore_all`](Self::restore_all).
    pub(super) async fn restore_listed(
        &self,
        server: &Arc<RedisServer>,
        now: LogTime,
    ) -> Result<(), WindowStoreError> {
        self.restore_part(server, self.journal.listed(now), now)
            .await
    }

    async fn restore_part(
        &self,
        server: &Arc<RedisServer>,
        mut part: Vec<Backlog>,
        now: LogTime,
    ) -> Result<(), WindowStoreError> {
        part.retain(|backlog| {
            let owner = self.redis.server_of(&backlog.policy, backlog.client);
            Arc::ptr_eq(&owner, server)
        });
        let writes = stream::iter(part).map(|backlog| async move {
            let mut hiccups = 0;
            loop {
                match self.write(&backlog, now).await {
                    // To give up would mean to begin anew with all clients.
                    Err(error) if hiccups < MOST_HICCUPS && !server.is_outage(&error) => {
                        hiccups += 1;
                    }
                    written => return written,
                }
            }
        });
        writes.buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn write(&self, backlog: &Backlog, now: LogTime) -> Result<(), WindowStoreError> {
        let (policy, client) = (&backlog.policy, backlog.client);
        for entries in backlog.entries.chunks(ENTRIES_AT_ONCE) {
            let answer = self.redis.add(entries, policy, client, now);
            match self.measured(RedisOperation::WriteBack, answer).await {
                Ok(()) => {}
                Err(WindowStoreError::Key { .. }) => {
                    self.journal.bar(policy, client);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.journal.has_written(backlog);
        Ok(())
    }

    /// Runs an operation of the store and measures it.
    pub(super) fn measured<T>(
        &self,
        operation: RedisOperation,
        answer: impl Future<Output = Result<T, WindowStoreError>>,
    ) -> impl Future<Output = Result<T, WindowStoreError>> {
        self.metrics
            .measure(operation, answer, WindowStoreError::kind)
    }
}
