//! The Sentinels of a group, and the master that they name.
//!
//! It is not enough to ask the master for its role. After a planned failover (`SENTINEL FAILOVER`), the old master calls
//! itself a master and takes writes for another eight seconds, and all of them are lost. So the Sentinels are asked
//! again and again while the master answers.
//!
//! The Sentinels learn of a failover one after the other, within two seconds. Each failover has a number that is larger
//! than all before, the *epoch*. If Sentinels disagree, the largest epoch counts.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd, make_extension_error,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

use super::endpoint::SentinelGroup;

/// How long a Sentinel may take to answer, connecting included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the Sentinels are asked while the master answers.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Asks the Sentinels of a group.
pub(super) struct Sentinels {
    group: SentinelGroup,
    /// One for each Sentinel, kept open from one question to the next.
    connections: Mutex<Vec<Option<MultiplexedConnection>>>,
    /// The master that this node uses.
    followed: Mutex<Option<Master>>,
}

/// A master, as a Sentinel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    /// The number of the failover that made it the master.
    epoch: u64,
    host: String,
    port: u16,
}

/// What the Sentinels say together.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    newest: Master,
    /// Whether every Sentinel has named a master.
    is_complete: bool,
}

impl Sentinels {
    /// Does not connect yet.
    pub(super) fn new(group: SentinelGroup) -> Self {
        let connections = vec![None; group.sentinels.len()];
        Self {
            group,
            connections: Mutex::new(connections),
            followed: Mutex::default(),
        }
    }

    /// The master that more than half of the Sentinels, or all that answer in time, name.
    ///
    /// # Errors
    /// What the last Sentinel said, if none names a master.
    pub(super) async fn find(&self) -> RedisResult<Master> {
        let known = self.known_epoch();
        let most = self.group.sentinels.len() / 2;
        // If a Sentinel that knew of the last failover answers late, the others must not lead back to before it.
        let is_enough = |answers: usize, newest: &Master| answers > most && newest.epoch >= known;
        Ok(self.ask(is_enough).await?.newest)
    }

    /// How to connect to `master`.
    pub(super) fn connection_to(&self, master: &Master) -> ConnectionInfo {
        self.group.access.at(&master.host, master.port)
    }

    /// Notes that this node uses `master`, or has to.
    pub(super) fn follow(&self, master: Master) {
        *lock(&self.followed) = Some(master);
    }

    /// Waits until the Sentinels name another master than the one that this node uses, and the other calls itself a
    /// master. Returns its address.
    pub(super) async fn another_is_named(&self) -> Master {
        loop {
            sleep(WATCH_INTERVAL).await;
            let known = self.known_epoch();
            let Ok(verdict) = self.ask(|_, newest| newest.epoch > known).await else {
                continue;
            };
            let other = match &*lock(&self.followed) {
                Some(followed) if verdict.leads_away_from(followed) => verdict.newest,
                _ => continue,
            };
            if self.is_master(&other).await {
                // So that Sentinels that have not heard of it do not lead back.
                self.follow(other.clone());
                return other;
            }
        }
    }

    async fn is_master(&self, master: &Master) -> bool {
        let asked = async {
            let mut connection = connect(&self.connection_to(master)).await?;
            check_role(connection.req_packed_command(&cmd("ROLE")).await?)
        };
        matches!(timeout(ANSWER_TIMEOUT, asked).await, Ok(Ok(())))
    }

    /// Asks all Sentinels at once, until `is_enough` says so of the number of answers and the newest master.
    async fn ask(&self, is_enough: impl Fn(usize, &Master) -> bool) -> RedisResult<Verdict> {
        let count = self.group.sentinels.len();
        let mut answers: FuturesUnordered<_> =
            (0..count).map(|sentinel| self.ask_one(sentinel)).collect();
        let mut newest: Option<Master> = None;
        let mut named = 0;
        let mut failed = (ErrorKind::EmptySentinelList, "there is no Sentinel").into();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(master) => {
                    named += 1;
                    let newest = newest.get_or_insert_with(|| master.clone());
                    if master.epoch > newest.epoch {
                        *newest = master;
                    }
                    if is_enough(named, newest) {
                        break;
                    }
                }
                Err(error) => failed = error,
            }
        }
        newest
            .map(|newest| Verdict {
                newest,
                is_complete: named == count,
            })
            .ok_or(failed)
    }

    /// The master that a Sentinel names.
    async fn ask_one(&self, sentinel: usize) -> RedisResult<Master> {
        let kept = lock(&self.connections)[sentinel].clone();
        let asked = async {
            if let Some(mut connection) = kept
                && let Ok(answers) = self.question(&mut connection).await
            {
                return RedisResult::Ok((connection, answers));
            }
            lock(&self.connections)[sentinel] = None;
            let mut connection = connect(&self.group.sentinels[sentinel]).await?;
            let answers = self.question(&mut connection).await?;
            Ok((connection, answers))
        };
        let late = |_| RedisError::from((ErrorKind::Io, "a Sentinel does not answer"));
        let (connection, answers) = timeout(ANSWER_TIMEOUT, asked).await.map_err(late)??;
        lock(&self.connections)[sentinel] = Some(connection);
        Master::from_answers(answers)
    }

    async fn question(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Value>> {
        let mut question = Pipeline::with_capacity(2);
        for what in ["GET-MASTER-ADDR-BY-NAME", "MASTER"] {
            question.cmd("SENTINEL").arg(what).arg(&self.group.master);
        }
        connection.req_packed_commands(&question, 0, 2).await
    }

    fn known_epoch(&self) -> u64 {
        lock(&self.followed)
            .as_ref()
            .map_or(0, |master| master.epoch)
    }
}

impl Master {
    /// Reads the address, which names the new master as soon as it is promoted, and the state of the group, which has
    /// the epoch.
    fn from_answers(answers: Vec<Value>) -> RedisResult<Self> {
        let [address, state] = <[Value; 2]>::try_from(answers)
            .map_err(|_| RedisError::from((ErrorKind::UnexpectedReturnType, "not two answers")))?;
        let address = Option::<(String, u16)>::from_redis_value(address.extract_error()?)?;
        let (host, port) = address.ok_or((
            ErrorKind::MasterNameNotFoundBySentinel,
            "a Sentinel does not know the master's name",
        ))?;
        let state = HashMap::<String, String>::from_redis_value(state.extract_error()?)?;
        let epoch = state
            .get("config-epoch")
            .and_then(|epoch| epoch.parse().ok());
        Ok(Self {
            epoch: epoch.unwrap_or(0),
            host,
            port,
        })
    }
}

impl Verdict {
    /// Whether a node that uses `followed` has to use another master.
    ///
    /// A larger epoch always counts. A smaller one is usually from a Sentinel that has not heard of the last failover
    /// yet. Only if all Sentinels agree on it, an operator has set them up anew.
    fn leads_away_from(&self, followed: &Master) -> bool {
        let is_other = (&self.newest.host, self.newest.port) != (&followed.host, followed.port);
        is_other && (self.newest.epoch > followed.epoch || self.is_complete)
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

async fn connect(server: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let client = Client::open(server.clone())?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Checks the answer to `ROLE` of a server that has to be a master.
///
/// # Errors
/// `READONLY` if it is none.
pub(super) fn check_role(answer: Value) -> RedisResult<()> {
    let role = Vec::<Value>::from_redis_value(answer.extract_error()?)?;
    match role.first() {
        Some(Value::BulkString(name)) if name == b"master" => Ok(()),
        Some(Value::SimpleString(name)) if name == "master" => Ok(()),
        _ => {
            let why = Some("the server is no master any more".to_owned());
            Err(make_extension_error("READONLY".to_owned(), why))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn master(epoch: u64, port: u16) -> Master {
        Master {
            epoch,
            host: "10.0.0.1".to_owned(),
            port,
        }
    }

    #[test]
    fn an_answer_has_an_address_and_an_epoch() {
        let address = Value::Array(vec![text("10.0.0.1"), text("6379")]);
        let state = ["name", "mymaster", "port", "6380", "config-epoch", "7"].map(text);
        let answers = vec![address.clone(), Value::Array(state.into())];
        assert_eq!(Master::from_answers(answers).expect("one"), master(7, 6379));

        let pairs = vec![(text("config-epoch"), text("8"))];
        let answers = vec![address.clone(), Value::Map(pairs)];
        assert_eq!(Master::from_answers(answers).expect("one"), master(8, 6379));

        let answers = vec![address, Value::Array(Vec::new())];
        assert_eq!(Master::from_answers(answers).expect("one"), master(0, 6379));
    }

    #[test]
    fn a_sentinel_that_knows_no_master_of_this_name_names_none() {
        let error = Master::from_answers(vec![Value::Nil, Value::Nil]).expect_err("no master");
        assert_eq!(error.kind(), ErrorKind::MasterNameNotFoundBySentinel);
        assert!(Master::from_answers(Vec::new()).is_err());
    }

    #[test]
    fn a_node_follows_the_newest_failover_and_goes_back_only_if_all_say_so() {
        let followed = master(5, 6379);
        for (epoch, port, is_complete, expected) in [
            (5, 6379, true, false),
            (6, 6379, true, false),
            (6, 6380, false, true),
            (6, 6380, true, true),
            (4, 6380, false, false),
            (4, 6380, true, true),
            (5, 6380, false, false),
            (5, 6380, true, true),
        ] {
            let verdict = Verdict {
                newest: master(epoch, port),
                is_complete,
            };
            let leads_away = verdict.leads_away_from(&followed);
            assert_eq!(leads_away, expected, "{verdict:?}");
        }
    }
}
