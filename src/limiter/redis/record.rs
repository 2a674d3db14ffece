//! A request as Redis sees it: the commands that log it, and what their replies say.

use std::time::Duration;

use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
};

use crate::limiter::{Decision, LogEntry, LogTime, Quota};

/// A request to be logged and decided.
pub(super) struct Record<'a> {
    pub(super) key: &'a str,
    pub(super) quota: Quota,
    pub(super) entry: LogEntry,
    /// Earlier requests of the client that have to be in its log before this one is decided.
    pub(super) earlier: &'a [LogEntry],
    /// Whether it may be in the log already: it was sent before, and perhaps the answer was lost. If the log has its
    /// member with the same time, that is this request. (That another one has both is as good as impossible.)
    pub(super) is_repeated: bool,
    /// Whether entries that are further ahead than [`AHEAD`] are removed first. In that case this member is in the log
    /// already, perhaps with another time.
    pub(super) removes_ahead: bool,
}

/// What Redis says of a log in which a request has just been logged.
#[derive(Clone, Copy)]
pub(super) struct Logged {
    /// How many entries it has.
    count: u64,
    /// The times of the first two.
    first: [Option<LogTime>; 2],
}

/// What follows from Redis's answer.
pub(super) struct Recorded {
    pub(super) decision: Decision,
    /// Whether the entry that decides is further ahead than [`AHEAD`]. Then the client is refused for longer than a
    /// window.
    pub(super) is_from_ahead: bool,
}

/// The times of nodes differ by milliseconds, so one may log a request a little ahead of another's time. An entry that
/// is further ahead than this belongs to no known timeline.
pub(super) const AHEAD: Duration = Duration::from_secs(1);

impl Record<'_> {
    /// How many commands [`add_to`](Self::add_to) adds.
    pub(super) fn commands(&self) -> usize {
        // Those of a usual request.
        let commands = 5;
        commands + self.commands_before() + usize::from(!self.earlier.is_empty())
    }

    fn commands_before(&self) -> usize {
        let more = [
            !self.earlier.is_empty(),
            self.removes_ahead,
            self.is_repeated,
        ];
        more.into_iter().map(usize::from).sum()
    }

    /// Adds the commands. The table in [the module above](super) says why these, and why in this order.
    pub(super) fn add_to(&self, pipeline: &mut Pipeline) {
        let Self { key, quota, .. } = self;
        let LogEntry { at, member } = self.entry;
        if !self.earlier.is_empty() {
            pipeline.add_command(add_entries(key, self.earlier));
        }
        if self.removes_ahead {
            pipeline.add_command(remove_ahead(key, at));
        }
        if self.is_repeated {
            let mut known = command("ZSCORE", key, 1);
            known.arg(member);
            pipeline.add_command(known);
        }
        let mut add = command("ZADD", key, 3);
        if !self.removes_ahead {
            add.arg("NX");
        }
        add.arg(at.as_micros()).arg(member);
        pipeline
            .add_command(add)
            .add_command(remove_old(key, *quota, at));
        if !self.earlier.is_empty() {
            // With what it brings, the log is nearly always too long.
            pipeline.add_command(remove_surplus(key, *quota));
        }
        pipeline
            .add_command(command("ZCARD", key, 0))
            .add_command(range(key, 0, 1))
            .add_command(expire(key, *quota));
    }

    /// What the replies say, one for each command in the order of the commands. `None` if the log has the member already:
    /// if this is no repetition, the same has to be sent as one, to learn whether it is this request; otherwise it is
    /// another one's, and this request is not logged yet.
    pub(super) fn logged(&self, replies: &[Value]) -> RedisResult<Option<Logged>> {
        let replies = without_errors(replies)?;
        let before = self.commands_before();
        let (Some(added), [.., count, range, _expires]) = (replies.get(before), replies) else {
            return Err(unexpected("a reply is missing"));
        };
        let added = u64::from_redis_value_ref(added)?;
        if added == 0 && !self.removes_ahead {
            let known = replies[..before].last().filter(|_| self.is_repeated);
            if known.map(micros).transpose()? != Some(self.entry.at) {
                return Ok(None);
            }
        }
        Ok(Some(Logged {
            count: u64::from_redis_value_ref(count)?,
            first: times(range)?,
        }))
    }

    /// Whether the log has more than the newest L + 1 entries. Then it has to be [shortened](Surplus) before the request
    /// is decided: its second entry is not the one that decides when the client is admitted again.
    pub(super) fn has_surplus(&self, logged: Logged) -> bool {
        logged.count > u64::from(self.quota.limit()) + 1
    }

    /// The decision.
    pub(super) fn recorded(&self, logged: Logged) -> Recorded {
        let at = self.entry.at;
        let [oldest, second] = logged.first;
        let oldest = oldest.unwrap_or(at);
        let decision = Decision::from_log(self.quota, at, logged.count, oldest, second);
        Recorded {
            decision,
            is_from_ahead: !decision.admitted && second.unwrap_or(oldest) > at + AHEAD,
        }
    }
}

/// Leaves the newest L + 1 entries in the log of a request that was logged, and asks for the first two of them. Both
/// commands count from the end: if another node logs a request meanwhile, or removes what has left the window, the second
/// is still the L-th newest.
pub(super) struct Surplus<'a>(pub(super) &'a Record<'a>, pub(super) Logged);

impl Surplus<'_> {
    /// How many commands [`add_to`](Self::add_to) adds.
    pub(super) const COMMANDS: usize = 2;

    pub(super) fn add_to(&self, pipeline: &mut Pipeline) {
        let Record { key, quota, .. } = *self.0;
        let limit = i64::from(quota.limit());
        pipeline
            .add_command(remove_surplus(key, quota))
            .add_command(range(key, -limit - 1, -limit));
    }

    /// What the replies say of the log.
    pub(super) fn logged(&self, replies: &[Value]) -> RedisResult<Logged> {
        let [_removed, range] = without_errors(replies)? else {
            return Err(unexpected("a reply is missing"));
        };
        let first = times(range)?;
        let Self(_, logged) = *self;
        // If fewer than L are left, the client is admitted again already, and any entry that was there says so.
        let is_over = first[0].is_none();
        Ok(Logged {
            first: if is_over { logged.first } else { first },
            ..logged
        })
    }
}

/// `replies`, unless one of them is an error.
fn without_errors(replies: &[Value]) -> RedisResult<&[Value]> {
    let error = replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    error.map_or(Ok(replies), |error| Err(error.clone().into()))
}

/// The times of the first two entries in the reply to `ZRANGE … WITHSCORES`, as far as it has them.
fn times(reply: &Value) -> RedisResult<[Option<LogTime>; 2]> {
    Ok([score(reply, 0)?, score(reply, 1)?])
}

/// The score number `index` in the reply to `ZRANGE … WITHSCORES`.
fn score(reply: &Value, index: usize) -> RedisResult<Option<LogTime>> {
    let Value::Array(items) = reply else {
        return Err(not_a_score());
    };
    let score = match items.first() {
        // RESP3: pairs.
        Some(Value::Array(_)) => match items.get(index) {
            Some(Value::Array(pair)) => pair.get(1),
            _ => None,
        },
        // RESP2: member, score, member, score.
        _ => items.get(2 * index + 1),
    };
    score.map(micros).transpose()
}

fn micros(score: &Value) -> RedisResult<LogTime> {
    let whole = |score: f64| {
        // Whole microseconds until the year 2255 are below 2^53, which f64 holds exactly. The conversion puts larger
        // ones, and infinity, at the limits of i64.
        Ok(LogTime::from_micros(score as i64))
    };
    match score {
        Value::Double(score) => whole(*score),
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).map_err(|_| not_a_score())?;
            match text.parse() {
                Ok(micros) => Ok(LogTime::from_micros(micros)),
                Err(_) => whole(text.parse().map_err(|_| not_a_score())?),
            }
        }
        _ => Err(not_a_score()),
    }
}

fn not_a_score() -> RedisError {
    unexpected("scores were expected")
}

fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}

/// The commands that add `entries` to a log unless they are in it already. They decide nothing.
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

/// A command with room for `arguments` numbers or words, so that it does not grow with each.
fn command(name: &str, key: &str, arguments: usize) -> Cmd {
    /// The longest argument: a Unix time in µs.
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

/// Removes entries that have left the window.
fn remove_old(key: &str, quota: Quota, now: LogTime) -> Cmd {
    let mut remove = command("ZREMRANGEBYSCORE", key, 2);
    let newest = now - quota.window();
    remove.arg("-inf").arg(newest.as_micros());
    remove
}

/// Removes entries that belong to no known timeline.
fn remove_ahead(key: &str, now: LogTime) -> Cmd {
    let mut remove = command("ZREMRANGEBYSCORE", key, 2);
    let last = (now + AHEAD).as_micros();
    remove.arg(format!("({last}")).arg("+inf");
    remove
}

/// Removes entries that can change no decision.
fn remove_surplus(key: &str, quota: Quota) -> Cmd {
    let mut remove = command("ZREMRANGEBYRANK", key, 2);
    remove.arg(0).arg(-i64::from(quota.limit()) - 2);
    remove
}

/// Asks for the entries with these indexes, which count from the end if they are negative.
fn range(key: &str, first: i64, last: i64) -> Cmd {
    let mut range = command("ZRANGE", key, 3);
    range.arg(first).arg(last).arg("WITHSCORES");
    range
}

fn expire(key: &str, quota: Quota) -> Cmd {
    let mut expire = command("EXPIRE", key, 1);
    expire.arg(quota.window_seconds());
    expire
}

#[cfg(test)]
mod tests;
