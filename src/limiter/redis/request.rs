//! A request on its way to Redis: sent again if its connection is lost or its answer is in doubt.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::debug;

use super::{
    RedisStore,
    connections::Link,
    patience::Patience,
    record::{Record, Recorded, Surplus},
    server::Server,
};
use crate::{
    limiter::{ClientId, Decision, LogEntry, Policy, WindowStoreError},
    telemetry::chain,
};

/// How many members are tried for one request. The second is hardly ever needed.
const MEMBER_ATTEMPTS: usize = 4;

/// How many connections a request may lose in a row before it pauses: it must not make one after the other as fast as
/// a server can end them.
const LOSSES_IN_A_ROW: u32 = 2;

/// The pause, and with each further loss one more. Of the default timeout there is room for a few.
const PAUSE: Duration = Duration::from_millis(5);

impl RedisStore {
    /// Adds `earlier` requests of the client to its log, then logs and decides the request `entry`. Returns also the
    /// entry that is in the log now: Redis may hold another entry under the same member already, and then the request
    /// gets another one.
    ///
    /// # Errors
    /// As [`record_at`](crate::limiter::WindowStore::record_at). Redis may or may not hold `entry` then.
    pub(in crate::limiter) async fn record_after(
        &self,
        earlier: &[LogEntry],
        policy: &Policy,
        client: ClientId,
        entry: LogEntry,
    ) -> Result<(Decision, LogEntry), WindowStoreError> {
        let key = self.keys.log(policy, client);
        let record = Record {
            key: &key,
            quota: policy.quota,
            entry,
            earlier,
            is_repeated: false,
            removes_ahead: false,
        };
        let decision = self.decide(record).await;
        if let Err(WindowStoreError::Key { key, .. }) = &decision {
            Box::pin(self.leave_alone(key)).await;
        }
        decision
    }

    /// Sends `record` until its answer can be used, or its time is over.
    async fn decide(
        &self,
        mut record: Record<'_>,
    ) -> Result<(Decision, LogEntry), WindowStoreError> {
        let mut patience = self.patience();
        let (mut members, mut losses) = (1, 0);
        // If connections are lost, Redis may have stood still since before the first of them.
        let mut since = None;
        // The log, if it has become too long. Then the request is logged, and waits until the log is shortened.
        let mut too_long = None;
        let mut route = self.servers.route(record.key);
        loop {
            let server = route.server();
            let link = self.link(server, &mut patience).await?;
            let sent = self.boot.micros();
            let (ran, first_sent) = *since.get_or_insert_with(|| (server.last_answered(), sent));
            let (connection, is_asking) = (&link.connection, route.is_asking());
            let logged = async {
                match too_long {
                    None => connection.run(&record, is_asking).await,
                    Some(logged) => {
                        // In a box, because hardly any request needs it.
                        let shortened = Surplus(&record, logged);
                        let shortened = Box::pin(connection.run(&shortened, is_asking));
                        shortened.await.map(Some)
                    }
                }
            };
            let Some(logged) = patience.wait(logged).await else {
                link.unanswered(sent, self.boot.micros());
                return Err(WindowStoreError::Timeout(self.timeout));
            };
            let received = self.boot.micros();
            let logged = logged.map_err(|error| self.failures.sort(error, record.key));
            if let Err(error @ WindowStoreError::Lost(_)) = &logged {
                debug!(error = chain(error), "the connection of a request is lost");
                link.lose();
                record.is_repeated = true;
                losses += 1;
                if losses >= LOSSES_IN_A_ROW {
                    let pause = sleep(PAUSE * (losses - 1));
                    patience.wait(pause).await;
                }
                continue;
            }
            losses = 0;
            link.answered(received);
            server.answered_at(received);
            let is_doubtful = server.is_in_doubt(ran, first_sent, received);
            since = None;
            let logged = match logged {
                Ok(logged) => logged,
                Err(error) => {
                    let redirected = patience.wait(Box::pin(route.redirect(error))).await;
                    redirected.unwrap_or(Err(WindowStoreError::Timeout(self.timeout)))?;
                    continue;
                }
            };
            match logged {
                // Perhaps this request itself, if anything in between has sent it twice.
                None if !record.is_repeated => record.is_repeated = true,
                None if members < MEMBER_ATTEMPTS => {
                    record.entry.member = (self.new_member)();
                    record.is_repeated = false;
                    members += 1;
                }
                None => {
                    return Err(WindowStoreError::Failed(
                        "every member that was tried is taken".into(),
                    ));
                }
                Some(logged) if too_long.is_none() && record.has_surplus(logged) => {
                    too_long = Some(logged);
                    patience.begin_again();
                }
                Some(logged) => {
                    let Recorded {
                        decision,
                        is_from_ahead,
                    } = record.recorded(logged);
                    if is_from_ahead && !record.removes_ahead {
                        let measured = Box::pin(self.measure_clock_in_common());
                        match patience.wait(measured).await {
                            Some(measured) => measured?,
                            None => return Err(WindowStoreError::Timeout(self.timeout)),
                        }
                        record.entry.at = record.entry.at.max(self.clock.now());
                        record.earlier = &[];
                        record.removes_ahead = true;
                        too_long = None;
                    } else if decision.admitted && is_doubtful {
                        // A refusal needs no second answer: what was not counted would only refuse it once more.
                        record.is_repeated = true;
                        patience.begin_again();
                    } else {
                        return Ok((decision, record.entry));
                    }
                }
            }
        }
    }

    /// The connection of this thread to a server, which may have to be made first.
    async fn link(
        &self,
        server: &Server,
        patience: &mut Patience<'_>,
    ) -> Result<Arc<Link>, WindowStoreError> {
        if let Some(link) = server.connections().at_hand() {
            return Ok(link);
        }
        let link = Box::pin(server.connection());
        let link = patience.wait(link).await;
        link.unwrap_or(Err(WindowStoreError::Timeout(self.timeout)))
    }
}
