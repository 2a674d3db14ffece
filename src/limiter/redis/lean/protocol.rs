//! Redis's protocol, [RESP2](https://redis.io/docs/latest/develop/reference/protocol-spec/), as far as Shunt needs it.
//!
//! A command is an array of strings. A reply begins with a byte that says what it is, and its lines end with `\r\n`:
//!
//! | reply | what it is |
//! |---|---|
//! | `+OK\r\n` | a status |
//! | `-ERR what\r\n` | an error |
//! | `:7\r\n` | a number |
//! | `$5\r\nhello\r\n`, `$-1\r\n` | a string of 5 bytes; no string |
//! | `*2\r\n…`, `*-1\r\n` | an array: two replies follow; no array |
//!
//! In a transaction, Redis answers `+OK` to `MULTI` and `+QUEUED` to each command. The reply to `EXEC` is an array of
//! the replies to the commands. If one of the commands is wrong, its reply is an error instead of `+QUEUED`, and so is
//! that to `EXEC`.

use deadpool_redis::redis::{RedisError, RedisResult, Value, parse_redis_value};

use crate::limiter::{
    LogTime,
    redis::command::{Commands, Replies, Transaction, Word, time, unexpected},
};

/// The longest string or array that Redis may send, in bytes or replies. No answer to Shunt has one that is nearly as
/// long.
const LONGEST: usize = 1 << 20;

/// The longest line, in bytes. Looking for its end must not take longer and longer.
const LONGEST_LINE: usize = 64 << 10;

const QUEUED: &[u8] = b"+QUEUED\r\n";

/// Writes commands.
pub(super) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    commands: usize,
}

impl<'a> Writer<'a> {
    /// Appends to `buffer`.
    pub(super) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            commands: 0,
        }
    }

    /// Writes commands that the library has encoded.
    pub(super) fn packed(&mut self, bytes: &[u8], commands: usize) {
        self.buffer.extend_from_slice(bytes);
        self.commands += commands;
    }

    /// Writes a transaction.
    pub(super) fn transaction(&mut self, transaction: &impl Transaction) {
        self.add(&[Word::Text("MULTI")]);
        transaction.ask(self);
        self.add(&[Word::Text("EXEC")]);
    }

    /// How many commands it has written. Redis sends a reply to each.
    pub(super) fn commands(&self) -> usize {
        self.commands
    }

    fn string(&mut self, bytes: &[u8]) {
        self.line(b'$', bytes.len());
        self.buffer.extend_from_slice(bytes);
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// A line that says how much follows.
    fn line(&mut self, kind: u8, count: usize) {
        match u8::try_from(count) {
            Ok(digit @ 0..10) => self
                .buffer
                .extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']),
            _ => {
                let count = Decimal::new(i64::try_from(count).unwrap_or(i64::MAX));
                self.buffer.push(kind);
                self.buffer.extend_from_slice(count.digits());
                self.buffer.extend_from_slice(b"\r\n");
            }
        }
    }
}

impl Commands for Writer<'_> {
    fn add(&mut self, words: &[Word<'_>]) {
        self.commands += 1;
        self.line(b'*', words.len());
        for word in words {
            match *word {
                Word::Text(text) => self.string(text.as_bytes()),
                Word::Number(number) => self.string(Decimal::new(number).digits()),
            }
        }
    }
}

/// A number as text.
struct Decimal {
    text: [u8; Self::LONGEST],
    start: usize,
}

impl Decimal {
    /// The length of `i64::MIN` as text.
    const LONGEST: usize = 20;

    fn new(number: i64) -> Self {
        let mut decimal = Self {
            text: [b'0'; Self::LONGEST],
            start: Self::LONGEST,
        };
        let mut rest = number.unsigned_abs();
        loop {
            decimal.push_front(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            decimal.push_front(b'-');
        }
        decimal
    }

    fn push_front(&mut self, byte: u8) {
        self.start -= 1;
        self.text[self.start] = byte;
    }

    fn digits(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// A reply, or the beginning of an array.
#[derive(Debug, PartialEq, Eq)]
enum Reply<'a> {
    Status,
    Error(&'a [u8]),
    Number(i64),
    Text(Option<&'a [u8]>),
    /// So many replies follow.
    Array(Option<usize>),
}

/// Why a reply cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It has not arrived wholly.
    Cut,
    /// Redis does not send this.
    Malformed,
}

/// How many of `bytes` the first `count` replies take.
///
/// # Errors
/// [`Unreadable`]
pub(super) fn length(bytes: &[u8], count: usize) -> Result<usize, Unreadable> {
    let mut reader = Reader { rest: bytes };
    for _ in 0..count {
        reader.skip_whole()?;
    }
    Ok(bytes.len() - reader.rest.len())
}

/// The first `count` replies as values of the library. Any of them may be an error.
///
/// # Errors
/// If `bytes` has fewer.
pub(super) fn values(bytes: &[u8], count: usize) -> RedisResult<Vec<Value>> {
    let mut rest = bytes;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let length = length(rest, 1).map_err(|_| missing())?;
        let (reply, others) = rest.split_at(length);
        values.push(parse_redis_value(reply)?);
        rest = others;
    }
    Ok(values)
}

/// Reads replies that have arrived wholly.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the replies to the commands of a transaction. `bytes` are the `replies` to all that was sent: to so many
    /// commands `before` it, to `MULTI`, to each of its commands, to `EXEC`.
    ///
    /// # Errors
    /// The first error among the replies before that of `EXEC`, or else that one. It says why Redis has executed nothing.
    pub(super) fn of_transaction(
        bytes: &'a [u8],
        before: usize,
        replies: usize,
    ) -> RedisResult<Self> {
        let mut reader = Self::new(bytes);
        for _ in 1..replies {
            reader.skip()?;
        }
        match reader.next()? {
            Reply::Array(Some(count)) if before + 1 + count + 1 == replies => Ok(reader),
            _ => Err(unexpected("not one reply for each command")),
        }
    }

    /// The next reply, or what Redis says if it is an error.
    fn next(&mut self) -> RedisResult<Reply<'a>> {
        match self.read() {
            Ok(Reply::Error(error)) => Err(server_error(error)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(missing()),
        }
    }

    /// Skips the next reply.
    ///
    /// # Errors
    /// What Redis says, if it is an error.
    pub(super) fn skip(&mut self) -> RedisResult<()> {
        if let Some(rest) = self.rest.strip_prefix(QUEUED) {
            self.rest = rest;
            return Ok(());
        }
        if let Reply::Array(Some(count)) = self.next()? {
            for _ in 0..count {
                self.skip_whole().map_err(|_| missing())?;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Reply<'a>, Unreadable> {
        let (&kind, line) = self.line()?.split_first().ok_or(Unreadable::Malformed)?;
        Ok(match kind {
            b'+' => Reply::Status,
            b'-' => Reply::Error(line),
            b':' => Reply::Number(number(line)?),
            b'$' => Reply::Text(match count(line)? {
                Some(length) => Some(self.string(length)?),
                None => None,
            }),
            b'*' => Reply::Array(count(line)?),
            _ => return Err(Unreadable::Malformed),
        })
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<&'a [u8], Unreadable> {
        let line = &self.rest[..self.rest.len().min(LONGEST_LINE)];
        let Some(end) = line.iter().position(|&byte| byte == b'\r') else {
            let is_cut = line.len() < LONGEST_LINE;
            return Err(if is_cut {
                Unreadable::Cut
            } else {
                Unreadable::Malformed
            });
        };
        let line = &self.rest[..end];
        self.rest = &self.rest[end..];
        self.end_of_line()?;
        Ok(line)
    }

    fn string(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (string, rest) = self.rest.split_at_checked(length).ok_or(Unreadable::Cut)?;
        self.rest = rest;
        self.end_of_line()?;
        Ok(string)
    }

    fn end_of_line(&mut self) -> Result<(), Unreadable> {
        match self.rest {
            [b'\r', b'\n', rest @ ..] => self.rest = rest,
            [] | [b'\r'] => return Err(Unreadable::Cut),
            _ => return Err(Unreadable::Malformed),
        }
        Ok(())
    }

    /// Skips a reply and, if it is an array, all that is in it.
    fn skip_whole(&mut self) -> Result<(), Unreadable> {
        // Most replies are this one.
        if let Some(rest) = self.rest.strip_prefix(QUEUED) {
            self.rest = rest;
            return Ok(());
        }
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            if let Reply::Array(Some(count)) = self.read()? {
                left += count;
            }
        }
        Ok(())
    }
}

fn number(line: &[u8]) -> Result<i64, Unreadable> {
    let (digits, sign) = match line {
        [b'-', digits @ ..] => (digits, -1),
        digits => (digits, 1),
    };
    let append = |number: i64, &byte: &u8| match byte {
        b'0'..=b'9' => number
            .checked_mul(10)?
            .checked_add(sign * i64::from(byte - b'0')),
        _ => None,
    };
    let number = digits.iter().try_fold(0, append);
    let number = number.filter(|_| !digits.is_empty());
    number.ok_or(Unreadable::Malformed)
}

/// How much follows; `None` for -1.
fn count(line: &[u8]) -> Result<Option<usize>, Unreadable> {
    match number(line)? {
        -1 => Ok(None),
        count => match usize::try_from(count) {
            Ok(count) if count <= LONGEST => Ok(Some(count)),
            _ => Err(Unreadable::Malformed),
        },
    }
}

fn missing() -> RedisError {
    unexpected("a reply is missing")
}

/// `WRONGTYPE what is wrong` as an error.
fn server_error(line: &[u8]) -> RedisError {
    let reply = [b"-", line, b"\r\n"].concat();
    let error = parse_redis_value(&reply).and_then(Value::extract_error);
    error.err().unwrap_or_else(|| unexpected("an error"))
}

impl Replies for Reader<'_> {
    fn number(&mut self) -> RedisResult<i64> {
        match self.next()? {
            Reply::Number(number) => Ok(number),
            _ => Err(unexpected("no number")),
        }
    }

    fn score(&mut self) -> RedisResult<Option<LogTime>> {
        match self.next()? {
            Reply::Text(text) => text.map(time).transpose(),
            _ => Err(unexpected("no score")),
        }
    }

    fn times(&mut self) -> RedisResult<[Option<LogTime>; 2]> {
        let Reply::Array(Some(count)) = self.next()? else {
            return Err(unexpected("no entries"));
        };
        let mut times = [None; 2];
        for index in 0..count / 2 {
            let _member = self.next()?;
            match (self.next()?, times.get_mut(index)) {
                (Reply::Text(Some(score)), Some(slot)) => *slot = Some(time(score)?),
                (Reply::Text(Some(_)), None) => {}
                _ => return Err(unexpected("no score")),
            }
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests;
