//! Slots of a cluster: which one a key is in, and which server owns it.

use std::fmt;

use deadpool_redis::redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, Value};

/// How many slots a cluster has.
pub(super) const SLOTS: usize = 16_384;

/// The slot of a key. Shunt's keys have no braces, so the whole key counts
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>).
pub(super) fn slot_of(key: &str) -> u16 {
    key.bytes().fold(0, crc16) % SLOTS as u16
}

/// CRC-16/XMODEM: the polynomial 0x1021, the highest bit first.
fn crc16(crc: u16, byte: u8) -> u16 {
    (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)]
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Where a server of a cluster listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `host:port`. A server that does not know its own address leaves the host out; then it is the `answering`
    /// server's.
    pub(super) fn parse(text: &str, answering: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, port.parse().ok()?, answering)
    }

    fn new(host: &str, port: u16, answering: &str) -> Option<Self> {
        let host = match host {
            // "?" says that the server does not know where the other one is.
            "?" => return None,
            "" => answering,
            host => host,
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Neighbouring slots of one owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) owner: Address,
}

/// Reads the answer to `CLUSTER SLOTS`, which came from the host `answering`. Slots without a known owner are left out.
///
/// # Errors
/// If this is no such answer, or no slot has an owner.
pub(super) fn parse_slots(answer: Value, answering: &str) -> RedisResult<Vec<Range>> {
    let ranges: Vec<Vec<Value>> = FromRedisValue::from_redis_value(answer.extract_error()?)?;
    let mut owned = Vec::with_capacity(ranges.len());
    for range in ranges {
        // First slot, last slot, master, replicas.
        let mut words = range.into_iter();
        let mut next = || words.next().unwrap_or(Value::Nil);
        let first = number(next())?;
        let last = number(next())?;
        if usize::from(last) >= SLOTS {
            return Err((ErrorKind::UnexpectedReturnType, "there is no such slot").into());
        }
        // Host, port, id, and more from Redis 7 on.
        let master: Vec<Value> = FromRedisValue::from_redis_value(next())?;
        let mut words = master.into_iter();
        let mut next = || words.next().unwrap_or(Value::Nil);
        let host = Option::<String>::from_redis_value(next())?.unwrap_or_default();
        let port = number(next())?;
        if let Some(owner) = Address::new(&host, port, answering) {
            owned.push(Range { first, last, owner });
        }
    }
    if owned.is_empty() {
        return Err((ErrorKind::UnexpectedReturnType, "no slot has an owner").into());
    }
    Ok(owned)
}

/// A slot or a port. The library's own conversion would cut a larger number off.
fn number(value: Value) -> RedisResult<u16> {
    let number = i64::from_redis_value(value)?;
    let wrong = |_| (ErrorKind::UnexpectedReturnType, "no slot or port").into();
    u16::try_from(number).map_err(wrong)
}

/// What a server says of a request for a slot that it does not own, or not wholly.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot belongs to another server from now on.
    Moved(u16, Address),
    /// The slot is on its way to another server, and this key is there already.
    Ask(Address),
    /// Some keys of the request are on their way.
    TryAgain,
}

impl Redirect {
    /// The redirect in an answer of the host `answering`. In all of these cases, the server has executed nothing.
    ///
    /// In a transaction, a server redirects each command, and `EXEC` says only that it has executed nothing
    /// (`EXECABORT`). If the slot moves between the commands and `EXEC`, the redirect is `EXEC`'s own answer.
    pub(super) fn of(error: &RedisError, answering: &str) -> Option<Self> {
        let errors = error.clone().into_server_errors()?;
        errors.iter().find_map(|(_, error)| {
            let mut words = error.details().unwrap_or_default().split(' ');
            let mut next = || words.next().unwrap_or_default();
            match error.code() {
                "MOVED" => {
                    let slot = next()
                        .parse()
                        .ok()
                        .filter(|slot| usize::from(*slot) < SLOTS)?;
                    Some(Self::Moved(slot, Address::parse(next(), answering)?))
                }
                "ASK" => {
                    next();
                    Some(Self::Ask(Address::parse(next(), answering)?))
                }
                "TRYAGAIN" => Some(Self::TryAgain),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.to_owned(),
            port,
        }
    }

    fn answer(text: &str) -> Value {
        parse_redis_value(text.replace(' ', "\r\n").as_bytes()).expect(text)
    }

    #[test]
    fn the_slot_of_a_key_is_the_one_that_redis_computes() {
        // The vector of the specification, and answers of `CLUSTER KEYSLOT`.
        assert_eq!("123456789".bytes().fold(0, crc16), 0x31c3);
        for (key, slot) in [
            ("", 0),
            ("foo", 12_182),
            ("bar", 5_061),
            ("somekey", 11_058),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn ranges_of_slots_have_the_address_of_their_master() {
        let slots = answer(
            "*3 *4 :0 :5460 *3 $9 127.0.0.1 :7000 $1 a *3 $9 127.0.0.1 :7003 $1 d \
             *3 :5461 :10922 *3 $0  :7001 $1 b *3 :10923 :16383 *3 $-1 :7002 $1 c ",
        );
        let ranges = parse_slots(slots, "10.0.0.1").expect("slots");
        let expected = [
            (0, 5_460, address("127.0.0.1", 7_000)),
            (5_461, 10_922, address("10.0.0.1", 7_001)),
            (10_923, 16_383, address("10.0.0.1", 7_002)),
        ];
        let ranges: Vec<_> = ranges
            .into_iter()
            .map(|range| (range.first, range.last, range.owner))
            .collect();
        assert_eq!(ranges, expected);
    }

    #[test]
    fn slots_of_an_unknown_owner_are_left_out() {
        let slots = answer("*2 *3 :0 :1 *2 $1 ? :7000 *3 :2 :3 *2 $1 a :7000 ");
        let ranges = parse_slots(slots, "b").expect("slots");
        assert_eq!(ranges.len(), 1);
        assert_eq!(ranges[0].owner, address("a", 7_000));
    }

    #[test]
    fn what_is_no_list_of_slots_is_an_error() {
        for text in [
            "*0 ",
            "$5 hello ",
            "*1 :1 ",
            "*1 *2 :0 :5 ",
            "*1 *3 :0 :16384 *2 $1 a :1 ",
            "*1 *3 :0 :5 *2 $1 ? :1 ",
            "*1 *3 :0 :5 *2 $1 a :65536 ",
            "-ERR ",
        ] {
            assert!(parse_slots(answer(text), "b").is_err(), "{text}");
        }
    }

    #[test]
    fn a_redirect_is_read_from_the_answer() {
        for (text, expected) in [
            (
                "MOVED 7 10.0.0.2:7001",
                Some(Redirect::Moved(7, address("10.0.0.2", 7_001))),
            ),
            (
                "MOVED 7 :7001",
                Some(Redirect::Moved(7, address("10.0.0.1", 7_001))),
            ),
            (
                "MOVED 7 ::1:7001",
                Some(Redirect::Moved(7, address("::1", 7_001))),
            ),
            (
                "ASK 7 redis-2.local:7001",
                Some(Redirect::Ask(address("redis-2.local", 7_001))),
            ),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Some(Redirect::TryAgain),
            ),
            ("MOVED 7 ?:7001", None),
            ("MOVED 16384 a:7001", None),
            ("MOVED", None),
            ("ASK 7", None),
            ("CLUSTERDOWN The cluster is down", None),
        ] {
            let error = parse_redis_value(format!("-{text}\r\n").as_bytes());
            let error = error.and_then(Value::extract_error).expect_err(text);
            assert_eq!(Redirect::of(&error, "10.0.0.1"), expected, "{text}");
        }
    }
}
