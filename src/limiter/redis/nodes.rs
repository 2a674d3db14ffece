//! How the nodes beat in Redis, and read who else does: one hash, one transaction a beat.
//!
//! | command | why |
//! |---|---|
//! | `HGETALL` | first, so that a node reads what its own field held before it writes it |
//! | `HSET` | beats |
//! | `EXPIRE` | forgets a fleet that is gone for a day |
//! | `HDEL` | afterwards, and hardly ever: removes fields of nodes that are gone, and what no node has written |

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use deadpool_redis::redis::{FromRedisValue, Pipeline, RedisResult, Value, cmd};

use super::{
    RedisStore,
    attendance::{Attendance, Question},
    connection::Connection,
    connections::Link,
    roster::{Generation, Reading, Roster},
    server::Server,
};
use crate::limiter::{WindowStore, WindowStoreError};

/// How long Redis keeps the hash after the last beat, s.
const DAY: i64 = 86_400;

/// A field that is never there: a transaction that adds it also removes it.
const PROBE: &str = "probe";

impl RedisStore {
    /// Tells the other nodes that this one is there, and reads which others are. One round trip, and one more if there
    /// is something to remove.
    ///
    /// # Errors
    /// [`WindowStoreError::Key`] if the key of the hash holds something else: Redis can serve requests all the same.
    /// Other [`WindowStoreError`]s if it does not answer within the timeout, or not with what it should.
    pub(in crate::limiter) async fn beat(&self) -> Result<Roster, WindowStoreError> {
        let key = &self.keys.nodes();
        let mut route = self.servers.route(key);
        let (roster, removes) = loop {
            let (server, is_asking) = (route.server(), route.is_asking());
            let beat = |link: Arc<Link>| async move {
                let now = self.now().as_micros();
                let (id, question) = {
                    let mut attendance = self.attendance();
                    (attendance.id(), attendance.beat(now))
                };
                let add_to = |pipeline: &mut Pipeline| {
                    pipeline.cmd("HGETALL").arg(key);
                    if let Some(beat) = question.beat {
                        let set = pipeline.cmd("HSET").arg(key);
                        set.arg(id.to_string()).arg(beat.to_string());
                    }
                    pipeline.cmd("EXPIRE").arg(key).arg(DAY);
                };
                let fields = fields(link.connection.transaction(add_to, is_asking));
                let fields = self.within(server, fields, key).await?;
                Ok(self.take_in(&question, fields))
            };
            match self.in_common(server, beat).await {
                Ok(answer) => break answer,
                Err(error) => route.redirect(error).await?,
            }
        };
        if !removes.is_empty() {
            let mut remove = cmd("HDEL");
            remove.arg(key).arg(removes);
            self.query::<i64>(&remove, key, None).await?;
        }
        Ok(roster)
    }

    /// Reads which nodes there are, and proves that this one could beat. Does not beat: others take a beat as a sign
    /// that this node has written back what it knows.
    ///
    /// # Errors
    /// As [`beat`](Self::beat).
    pub(super) async fn look(
        &self,
        server: &Server,
        connection: &Connection,
    ) -> Result<(), WindowStoreError> {
        let key = &self.keys.nodes();
        let question = self.attendance().look();
        let add_to = |pipeline: &mut Pipeline| {
            pipeline.cmd("HGETALL").arg(key);
            pipeline.cmd("HSET").arg(key).arg(PROBE).arg("");
            pipeline.cmd("HDEL").arg(key).arg(PROBE);
        };
        let fields = fields(connection.transaction(add_to, false));
        let fields = self.within(server, fields, key).await?;
        self.take_in(&question, fields);
        Ok(())
    }

    /// Tells the other nodes that this one stops. Call it after the last [`beat`](Self::beat).
    ///
    /// # Errors
    /// As [`beat`](Self::beat). The others then notice by this node's silence.
    pub(in crate::limiter) async fn leave(&self) -> Result<(), WindowStoreError> {
        let key = &self.keys.nodes();
        let mut remove = cmd("HDEL");
        remove.arg(key).arg(self.attendance().id().to_string());
        self.query::<i64>(&remove, key, None).await?;
        Ok(())
    }

    /// Beats in `generation` from now on, which [`Roster::lost_writes`] has returned. Returns whether it is a later one
    /// than before; if not, nothing changes.
    pub(in crate::limiter) fn enter_generation(&self, generation: Generation) -> bool {
        self.attendance().enter(generation)
    }

    /// The generation in which this node beats.
    pub(in crate::limiter) fn generation(&self) -> Generation {
        self.attendance().generation()
    }

    /// The nodes at the last [`beat`](Self::beat), or when Redis was reached last. `None` if it never was.
    pub(in crate::limiter) fn roster(&self) -> Option<Roster> {
        self.attendance().roster().cloned()
    }

    /// Takes in what the hash held. Returns what follows, and the fields that have to be removed.
    fn take_in(&self, question: &Question, fields: Fields) -> (Roster, Vec<Vec<u8>>) {
        let now = self.now().as_micros();
        let mut attendance = self.attendance();
        let reading = Reading::new(attendance.id(), fields);
        let roster = attendance.answered(question, &reading, now).clone();
        let removes = roster.removes(reading);
        (roster, removes)
    }

    fn attendance(&self) -> MutexGuard<'_, Attendance> {
        let attendance = self.attendance.lock();
        attendance.unwrap_or_else(PoisonError::into_inner)
    }
}

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// The hash, which is the first reply of a transaction.
async fn fields(transaction: impl Future<Output = RedisResult<Vec<Value>>>) -> RedisResult<Fields> {
    let replies = transaction.await?.into_iter();
    let mut replies = replies.map(Value::extract_error);
    let hash = replies.next().unwrap_or(Ok(Value::Nil))?;
    for reply in replies {
        reply?;
    }
    Ok(BTreeMap::from_redis_value(hash)?)
}
