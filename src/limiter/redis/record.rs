//! A request as Redis sees it: the commands that log it, and what their replies say.

use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::limiter::{Decision, LogEntry, LogTime, Quota};

/// A request to be logged and decided.
pub(super) struct Record<'a> {
    pub(super) key: &'a str,
    pub(super) quota: Quota,
    pub(super) at: LogTime,
    /// What tells it from others of the same time.
    pub(super) member: i32,
    /// Earlier requests of the client that have to stand in its log too.
    pub(super) earlier: &'a [LogEntry],
}

impl Record<'_> {
    /// What [`add_to`](Self::add_to) adds where there are no earlier requests.
    const COMMANDS: usize = 6;

    /// How many commands [`add_to`](Self::add_to) adds.
    pub(super) fn commands(&self) -> usize {
        Self::COMMANDS + usize::from(!self.earlier.is_empty())
    }

    /// The table in [the module above](super) says why these, and why in this order.
    pub(super) fn add_to(&self, pipeline: &mut Pipeline) {
        let Self { key, quota, at, .. } = self;
        if !self.earlier.is_empty() {
            pipeline.add_command(add_entries(key, self.earlier));
        }
        let mut add = command("ZADD", key, 3);
        add.arg("NX").arg(at.as_micros()).arg(self.member);
        let count = command("ZCARD", key, 0);
        let mut first = command("ZRANGE", key, 3);
        first.arg(0).arg(1).arg("WITHSCORES");
        pipeline
            .add_command(add)
            .add_command(remove_old(key, *quota, *at))
            .add_command(remove_surplus(key, *quota))
            .add_command(count)
            .add_command(first)
            .add_command(expire(key, *quota));
    }

    /// The decision, or `None` if the log has the member already: then the request is not logged yet.
    ///
    /// `replies` are those to its own commands, in their order.
    pub(super) fn decision(&self, replies: &[Value]) -> RedisResult<Option<Decision>> {
        for reply in replies {
            if let Value::ServerError(error) = reply {
                return Err(RedisError::from(error.clone()));
            }
        }
        let reply = |index: usize| {
            let earlier = replies.len().saturating_sub(Self::COMMANDS);
            replies.get(earlier + index).unwrap_or(&Value::Nil)
        };
        let added = u64::from_redis_value_ref(reply(0))?;
        if added == 0 {
            return Ok(None);
        }
        let logged = u64::from_redis_value_ref(reply(3))?;
        let first = Vec::<(i64, f64)>::from_redis_value_ref(reply(4))?;
        let score = |index: usize| {
            let &(_, score) = first.get(index)?;
            // Whole microseconds until the year 2255 are below 2^53, which f64 holds exactly.
            Some(LogTime::from_micros(score as i64))
        };
        let oldest = score(0).unwrap_or(self.at);
        Ok(Some(Decision::from_log(
            self.quota,
            self.at,
            logged,
            oldest,
            score(1),
        )))
    }
}

/// The commands that add `entries` to a log, where they are not there yet, and decide nothing.
pub(super) fn add_commands(
    key: &str,
    entries: &[LogEntry],
    quota: Quota,
    now: LogTime,
) -> [Cmd; 4] {
    [
        add_entries(key, entries),
        remove_old(key, quota, now),
        remove_surplus(key, quota),
        expire(key, quota),
    ]
}

/// With room for `arguments` numbers or words, so that it does not grow with each.
fn command(name: &str, key: &str, arguments: usize) -> Cmd {
    /// The longest there are: Unix times in µs.
    const ARGUMENT: usize = 16;
    let mut command =
        Cmd::with_capacity(2 + arguments, name.len() + key.len() + arguments * ARGUMENT);
    command.arg(name).arg(key);
    command
}

fn add_entries(key: &str, entries: &[LogEntry]) -> Cmd {
    let mut add = command("ZADD", key, 1 + 2 * entries.len());
    add.arg("NX");
    for entry in entries {
        add.arg(entry.at.as_micros()).arg(entry.member);
    }
    add
}

/// What counts no more.
fn remove_old(key: &str, quota: Quota, now: LogTime) -> Cmd {
    let mut remove = command("ZREMRANGEBYSCORE", key, 2);
    let newest = now - quota.window();
    remove.arg("-inf").arg(newest.as_micros());
    remove
}

/// What can change no decision.
fn remove_surplus(key: &str, quota: Quota) -> Cmd {
    let mut remove = command("ZREMRANGEBYRANK", key, 2);
    remove.arg(0).arg(-i64::from(quota.limit()) - 2);
    remove
}

fn expire(key: &str, quota: Quota) -> Cmd {
    let mut expire = command("EXPIRE", key, 1);
    expire.arg(quota.window_seconds());
    expire
}
