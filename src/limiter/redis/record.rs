//! A request as Redis sees it: the commands that log it, and what their replies say.

use std::time::Duration;

use deadpool_redis::redis::RedisResult;

use super::command::{
    Commands, Replies, Transaction,
    Word::{Number, Text},
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

/// The table in [the module above](super) says why these commands, and why in this order.
impl Transaction for Record<'_> {
    /// `None` if the log has the member already: if this is no repetition, the same has to be sent as one, to learn
    /// whether it is this request; otherwise it is another one's, and this request is not logged yet.
    type Answer = Option<Logged>;

    fn ask(&self, redis: &mut impl Commands) {
        let Self { key, quota, .. } = *self;
        let (at, member) = (self.entry.at.as_micros(), i64::from(self.entry.member));
        if !self.earlier.is_empty() {
            add_entries(redis, key, self.earlier);
        }
        if self.removes_ahead {
            remove_ahead(redis, key, self.entry.at);
        }
        if self.is_repeated {
            redis.add(&[Text("ZSCORE"), Text(key), Number(member)]);
        }
        if self.removes_ahead {
            redis.add(&[Text("ZADD"), Text(key), Number(at), Number(member)]);
        } else {
            let entry = [Number(at), Number(member)];
            redis.add(&[Text("ZADD"), Text(key), Text("NX"), entry[0], entry[1]]);
        }
        remove_old(redis, key, quota, self.entry.at);
        if !self.earlier.is_empty() {
            // With what it brings, the log is nearly always too long.
            remove_surplus(redis, key, quota);
        }
        redis.add(&[Text("ZCARD"), Text(key)]);
        range(redis, key, 0, 1);
        expire(redis, key, quota);
    }

    fn read(&self, replies: &mut impl Replies) -> RedisResult<Option<Logged>> {
        if !self.earlier.is_empty() {
            replies.number()?;
        }
        if self.removes_ahead {
            replies.number()?;
        }
        let known = if self.is_repeated {
            replies.score()?
        } else {
            None
        };
        let added = replies.number()?;
        let _removed_old = replies.number()?;
        if !self.earlier.is_empty() {
            let _removed_surplus = replies.number()?;
        }
        let count = replies.number()?;
        let first = replies.times()?;
        let _expires = replies.number()?;
        if added == 0 && !self.removes_ahead && known != Some(self.entry.at) {
            return Ok(None);
        }
        let count = u64::try_from(count).unwrap_or(0);
        Ok(Some(Logged { count, first }))
    }
}

impl Record<'_> {
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

impl Transaction for Surplus<'_> {
    type Answer = Logged;

    fn ask(&self, redis: &mut impl Commands) {
        let Record { key, quota, .. } = *self.0;
        let limit = i64::from(quota.limit());
        remove_surplus(redis, key, quota);
        range(redis, key, -limit - 1, -limit);
    }

    fn read(&self, replies: &mut impl Replies) -> RedisResult<Logged> {
        let _removed = replies.number()?;
        let first = replies.times()?;
        let Self(_, logged) = *self;
        // If fewer than L are left, the client is admitted again already, and any entry that was there says so.
        let is_over = first[0].is_none();
        Ok(Logged {
            first: if is_over { logged.first } else { first },
            ..logged
        })
    }
}

/// Entries to be added to a log unless they are in it already. They decide nothing.
pub(super) struct Backlog<'a> {
    pub(super) key: &'a str,
    pub(super) quota: Quota,
    pub(super) entries: &'a [LogEntry],
    pub(super) now: LogTime,
}

impl Transaction for Backlog<'_> {
    type Answer = ();

    fn ask(&self, redis: &mut impl Commands) {
        let Self { key, quota, .. } = *self;
        add_entries(redis, key, self.entries);
        remove_old(redis, key, quota, self.now);
        remove_surplus(redis, key, quota);
        expire(redis, key, quota);
    }

    fn read(&self, replies: &mut impl Replies) -> RedisResult<()> {
        // One for each command.
        (0..4).try_for_each(|_| replies.number().map(|_| ()))
    }
}

fn add_entries(redis: &mut impl Commands, key: &str, entries: &[LogEntry]) {
    let mut add = vec![Text("ZADD"), Text(key), Text("NX")];
    for entry in entries {
        add.push(Number(entry.at.as_micros()));
        add.push(Number(entry.member.into()));
    }
    redis.add(&add);
}

/// Removes entries that have left the window.
fn remove_old(redis: &mut impl Commands, key: &str, quota: Quota, now: LogTime) {
    let newest = Number((now - quota.window()).as_micros());
    redis.add(&[Text("ZREMRANGEBYSCORE"), Text(key), Text("-inf"), newest]);
}

/// Removes entries that belong to no known timeline. Scores are whole.
fn remove_ahead(redis: &mut impl Commands, key: &str, now: LogTime) {
    let first = Number((now + AHEAD).as_micros().saturating_add(1));
    redis.add(&[Text("ZREMRANGEBYSCORE"), Text(key), first, Text("+inf")]);
}

/// Removes entries that can change no decision.
fn remove_surplus(redis: &mut impl Commands, key: &str, quota: Quota) {
    let last = Number(-i64::from(quota.limit()) - 2);
    redis.add(&[Text("ZREMRANGEBYRANK"), Text(key), Number(0), last]);
}

/// Asks for the entries with these indexes, which count from the end if they are negative.
fn range(redis: &mut impl Commands, key: &str, first: i64, last: i64) {
    let (first, last) = (Number(first), Number(last));
    redis.add(&[Text("ZRANGE"), Text(key), first, last, Text("WITHSCORES")]);
}

fn expire(redis: &mut impl Commands, key: &str, quota: Quota) {
    let seconds = i64::try_from(quota.window_seconds()).unwrap_or(i64::MAX);
    redis.add(&[Text("EXPIRE"), Text(key), Number(seconds)]);
}

#[cfg(test)]
mod tests;
