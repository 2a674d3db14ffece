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

/// What Redis answered.
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
    /// How many commands [`add_to`](Self::add_to) adds if there are no earlier requests.
    const COMMANDS: usize = 6;

    /// How many commands [`add_to`](Self::add_to) adds.
    pub(super) fn commands(&self) -> usize {
        let more = [
            !self.earlier.is_empty(),
            self.removes_ahead,
            self.is_repeated,
        ];
        Self::COMMANDS + more.into_iter().map(usize::from).sum::<usize>()
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
        let count = command("ZCARD", key, 0);
        let mut first = command("ZRANGE", key, 3);
        first.arg(0).arg(1).arg("WITHSCORES");
        pipeline
            .add_command(add)
            .add_command(remove_old(key, *quota, at))
            .add_command(remove_surplus(key, *quota))
            .add_command(count)
            .add_command(first)
            .add_command(expire(key, *quota));
    }

    /// The decision. `None` if the log has the member already: if this is no repetition, the same has to be sent as one,
    /// to learn whether it is this request; otherwise it is another one's, and this request is not logged yet.
    ///
    /// `replies` has one reply for each command, in the order of the commands.
    pub(super) fn decision(&self, replies: &[Value]) -> RedisResult<Option<Recorded>> {
        for reply in replies {
            if let Value::ServerError(error) = reply {
                return Err(RedisError::from(error.clone()));
            }
        }
        let before = replies.len().saturating_sub(Self::COMMANDS);
        let reply = |index: usize| replies.get(before + index).unwrap_or(&Value::Nil);
        let at = self.entry.at;
        let added = u64::from_redis_value_ref(reply(0))?;
        if added == 0 && !self.removes_ahead {
            let known = replies[..before].last().filter(|_| self.is_repeated);
            if known.map(micros).transpose()? != Some(at) {
                return Ok(None);
            }
        }
        let logged = u64::from_redis_value_ref(reply(3))?;
        let oldest = score(reply(4), 0)?.unwrap_or(at);
        let second = score(reply(4), 1)?;
        let decision = Decision::from_log(self.quota, at, logged, oldest, second);
        Ok(Some(Recorded {
            decision,
            is_from_ahead: !decision.admitted && second.unwrap_or(oldest) > at + AHEAD,
        }))
    }
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
    let kind = ErrorKind::UnexpectedReturnType;
    (kind, "scores were expected").into()
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

fn expire(key: &str, quota: Quota) -> Cmd {
    let mut expire = command("EXPIRE", key, 1);
    expire.arg(quota.window_seconds());
    expire
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn scores(reply: &Value) -> [Option<i64>; 2] {
        [0, 1].map(|index| {
            let score = score(reply, index).expect("a score");
            score.map(LogTime::as_micros)
        })
    }

    /// What Redis says of a request of "3/minute" at `AT`, after `more` replies to the commands before the usual ones.
    fn decided(is_repeated: bool, more: &[Value], added: i64) -> Option<bool> {
        let record = Record {
            key: "rate_limit:192.0.2.1",
            quota: "3/minute".parse().expect("a quota"),
            entry: LogEntry {
                at: LogTime::from_micros(AT),
                member: 7,
            },
            earlier: &[],
            is_repeated,
            removes_ahead: false,
        };
        let first = Value::Array(vec![text("7"), text(&AT.to_string())]);
        let usual = [
            Value::Int(added),
            Value::Int(0),
            Value::Int(0),
            Value::Int(1),
            first,
            Value::Int(1),
        ];
        let replies = [more, &usual].concat();
        assert_eq!(replies.len(), record.commands());
        let recorded = record.decision(&replies).expect("replies");
        recorded.map(|recorded| recorded.decision.admitted)
    }

    const AT: i64 = 1_800_000_000_000_001;

    #[test]
    fn only_what_was_sent_before_and_has_the_same_time_is_the_same_request() {
        let (same, other) = (text("1800000000000001"), text("1800000000000002"));
        assert_eq!(decided(false, &[], 1), Some(true));
        assert_eq!(decided(false, &[], 0), None);
        assert_eq!(
            decided(true, &[Value::Nil], 1),
            Some(true),
            "lost on its way there"
        );
        assert_eq!(
            decided(true, &[same], 0),
            Some(true),
            "lost on its way back"
        );
        assert_eq!(decided(true, &[other], 0), None);
        assert_eq!(decided(true, &[Value::Double(AT as f64)], 0), Some(true));
    }

    #[test]
    fn scores_are_read_with_any_members_and_either_protocol() {
        let micros = 1_800_000_000_000_001;
        for (first, second, expected) in [
            ("1800000000000001", "1.8000000000000010e+15", [micros; 2]),
            ("-inf", "inf", [i64::MIN, i64::MAX]),
            ("1800000000000001.5", "-5", [micros, -5]),
        ] {
            let flat = Value::Array(vec![
                text("7"),
                text(first),
                text("hello \u{fffd}"),
                text(second),
            ]);
            assert_eq!(scores(&flat), expected.map(Some), "{first}, {second}");
            let number = |text: &str| Value::Double(text.parse().expect("a number"));
            let pairs = [("7", first), ("x", second)]
                .map(|(member, score)| Value::Array(vec![text(member), number(score)]));
            assert_eq!(scores(&Value::Array(pairs.into())), expected.map(Some));
        }
        let one = Value::Array(vec![text("7"), text("1")]);
        assert_eq!(scores(&one), [Some(1), None]);
        assert_eq!(scores(&Value::Array(Vec::new())), [None, None]);
    }

    #[test]
    fn what_is_no_score_is_an_error() {
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![text("7"), text("soon")]),
            Value::Array(vec![text("7"), Value::BulkString(vec![0xff])]),
        ] {
            assert!(score(&reply, 0).is_err(), "{reply:?}");
        }
    }
}
