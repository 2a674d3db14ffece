//! The commands of a request and the replies to them, in words that the [lean](super::lean) connection and the client
//! library have in common. All other commands are hardly ever sent, and are the library's on both.

use std::vec;

use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
};

use crate::limiter::LogTime;

/// Commands that Redis runs in a transaction, and what their replies say.
pub(super) trait Transaction {
    type Answer;

    /// Adds the commands.
    fn ask(&self, redis: &mut impl Commands);

    /// Reads the replies to them, all of them: any may be an error.
    ///
    /// # Errors
    /// As [`Replies`].
    fn read(&self, replies: &mut impl Replies) -> RedisResult<Self::Answer>;
}

/// Takes commands, to send them in this order.
pub(super) trait Commands {
    /// Adds a command: its name and its arguments.
    fn add(&mut self, words: &[Word<'_>]);
}

/// A part of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Text(&'a str),
    Number(i64),
}

/// Gives the replies to commands, in the order of the commands.
///
/// # Errors
/// All methods: what Redis says, if the next reply is an error; [`ErrorKind::UnexpectedReturnType`] if it is something
/// else than the method is for, or if there is none.
pub(super) trait Replies {
    /// The next reply, which is a number.
    fn number(&mut self) -> RedisResult<i64>;

    /// The next reply, which is a score, or none.
    fn score(&mut self) -> RedisResult<Option<LogTime>>;

    /// The times of the first two entries in the next reply, as far as it has them. It is one to `ZRANGE … WITHSCORES`.
    fn times(&mut self) -> RedisResult<[Option<LogTime>; 2]>;
}

/// Reads a score.
///
/// # Errors
/// [`ErrorKind::UnexpectedReturnType`]
pub(super) fn time(score: &[u8]) -> RedisResult<LogTime> {
    let text = std::str::from_utf8(score).map_err(|_| unexpected("no score"))?;
    match text.parse() {
        Ok(micros) => Ok(LogTime::from_micros(micros)),
        Err(_) => Ok(rounded(text.parse().map_err(|_| unexpected("no score"))?)),
    }
}

fn rounded(score: f64) -> LogTime {
    // Whole microseconds until the year 2255 are below 2^53, which f64 holds exactly. The conversion puts larger ones,
    // and infinity, at the limits of i64.
    LogTime::from_micros(score as i64)
}

/// The error for a reply that is not what its command is answered with.
pub(super) fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}

impl Commands for Pipeline {
    fn add(&mut self, words: &[Word<'_>]) {
        /// The longest number: a Unix time in µs.
        const NUMBER: usize = 16;
        let length = |word: &Word<'_>| match word {
            Word::Text(text) => text.len(),
            Word::Number(_) => NUMBER,
        };
        let mut command = Cmd::with_capacity(words.len(), words.iter().map(length).sum());
        for word in words {
            match word {
                Word::Text(text) => command.arg(text),
                Word::Number(number) => command.arg(number),
            };
        }
        self.add_command(command);
    }
}

impl Replies for vec::IntoIter<Value> {
    fn number(&mut self) -> RedisResult<i64> {
        Ok(i64::from_redis_value(next(self)?)?)
    }

    fn score(&mut self) -> RedisResult<Option<LogTime>> {
        match next(self)? {
            Value::Nil => Ok(None),
            score => score_of(&score).map(Some),
        }
    }

    fn times(&mut self) -> RedisResult<[Option<LogTime>; 2]> {
        let Value::Array(items) = next(self)? else {
            return Err(unexpected("no entries"));
        };
        let score = |index: usize| match items.first() {
            // RESP3: pairs.
            Some(Value::Array(_)) => match items.get(index) {
                Some(Value::Array(pair)) => pair.get(1),
                _ => None,
            },
            // RESP2: member, score, member, score.
            _ => items.get(2 * index + 1),
        };
        let [first, second] = [score(0), score(1)].map(|score| score.map(score_of));
        Ok([first.transpose()?, second.transpose()?])
    }
}

fn score_of(reply: &Value) -> RedisResult<LogTime> {
    match reply {
        Value::Double(score) => Ok(rounded(*score)),
        Value::BulkString(text) => time(text),
        _ => Err(unexpected("no score")),
    }
}

fn next(replies: &mut vec::IntoIter<Value>) -> RedisResult<Value> {
    let reply = replies.next();
    reply
        .ok_or_else(|| unexpected("a reply is missing"))?
        .extract_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn times(reply: Value) -> RedisResult<[Option<i64>; 2]> {
        let times = vec![reply].into_iter().times()?;
        Ok(times.map(|time| time.map(LogTime::as_micros)))
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
            let expected = expected.map(Some);
            assert_eq!(times(flat).expect("times"), expected, "{first}, {second}");
            let number = |text: &str| Value::Double(text.parse().expect("a number"));
            let pairs = [("7", first), ("x", second)]
                .map(|(member, score)| Value::Array(vec![text(member), number(score)]));
            assert_eq!(times(Value::Array(pairs.into())).expect("times"), expected);
        }
        let one = Value::Array(vec![text("7"), text("1")]);
        assert_eq!(times(one).expect("a time"), [Some(1), None]);
        let empty = Value::Array(Vec::new());
        assert_eq!(times(empty).expect("nothing"), [None, None]);
    }

    #[test]
    fn what_is_no_score_is_an_error() {
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![text("7"), text("soon")]),
            Value::Array(vec![text("7"), Value::BulkString(vec![0xff])]),
        ] {
            assert!(times(reply.clone()).is_err(), "{reply:?}");
        }
    }
}
