use deadpool_redis::redis::Pipeline;

use super::*;

fn written(ask: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut buffer = Vec::new();
    ask(&mut Writer::new(&mut buffer));
    String::from_utf8(buffer).expect("text")
}

#[test]
fn commands_are_arrays_of_strings() {
    use Word::{Number, Text};
    let long = "a key of 18 bytes.";
    for (words, expected) in [
        (&[Text("TIME")][..], "*1\r\n$4\r\nTIME\r\n"),
        (&[Text("GET"), Text("")], "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"),
        (&[Text(long)], "*1\r\n$18\r\na key of 18 bytes.\r\n"),
        (&[Number(0)], "*1\r\n$1\r\n0\r\n"),
        (&[Number(-12)], "*1\r\n$3\r\n-12\r\n"),
        (&[Number(i64::MIN)], "*1\r\n$20\r\n-9223372036854775808\r\n"),
        (&[Number(i64::MAX)], "*1\r\n$19\r\n9223372036854775807\r\n"),
    ] {
        assert_eq!(written(|writer| writer.add(words)), expected);
    }
    let many = written(|writer| writer.add(&[Number(1); 12]));
    assert!(many.starts_with("*12\r\n$1\r\n1\r\n"), "{many}");
}

struct Time;

impl Transaction for Time {
    type Answer = ();

    fn ask(&self, redis: &mut impl Commands) {
        redis.add(&[Word::Text("TIME")]);
    }

    fn read(&self, _: &mut impl Replies) -> RedisResult<()> {
        Ok(())
    }
}

#[test]
fn a_transaction_counts_all_its_commands() {
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer);
    writer.transaction(&Time);
    assert_eq!(writer.commands(), 3);
    let expected = b"*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nTIME\r\n*1\r\n$4\r\nEXEC\r\n";
    assert_eq!(buffer, expected);
}

#[test]
fn what_the_library_encodes_is_sent_as_it_is() {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("GET").arg("key").cmd("SELECT").arg(12);
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer);
    writer.packed(&pipeline.get_packed_pipeline(), 2);
    assert_eq!(writer.commands(), 2);
    let same = written(|writer| {
        writer.add(&[Word::Text("GET"), Word::Text("key")]);
        writer.add(&[Word::Text("SELECT"), Word::Number(12)]);
    });
    assert_eq!(String::from_utf8(buffer).expect("text"), same);
}

const REPLIES: &[&str] = &[
    "+OK\r\n",
    "+\r\n",
    "-ERR what\r\n",
    ":7\r\n",
    ":-9223372036854775808\r\n",
    "$5\r\nhello\r\n",
    "$4\r\na\r\nb\r\n",
    "$0\r\n\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n$10\r\n1800000000\r\n$2\r\n12\r\n",
    "*3\r\n:1\r\n*2\r\n$1\r\n7\r\n*1\r\n-ERR in it\r\n:2\r\n",
];

#[test]
fn a_reply_that_is_cut_anywhere_is_not_read_until_the_rest_is_there() {
    for reply in REPLIES {
        let bytes = reply.as_bytes();
        for end in 0..bytes.len() {
            let cut = length(&bytes[..end], 1);
            assert_eq!(cut, Err(Unreadable::Cut), "{reply:?} of {end} bytes");
        }
        assert_eq!(length(bytes, 1), Ok(bytes.len()), "{reply:?}");
        let more = [bytes, b":1"].concat();
        assert_eq!(length(&more, 1), Ok(bytes.len()), "{reply:?} and more");
    }
    let all = REPLIES.concat();
    assert_eq!(length(all.as_bytes(), REPLIES.len()), Ok(all.len()));
    let one_more = length(all.as_bytes(), REPLIES.len() + 1);
    assert_eq!(one_more, Err(Unreadable::Cut));
}

#[test]
fn what_redis_does_not_send_is_recognised_at_once() {
    for bytes in [
        "\r\n",
        "OK\r\n",
        "!5\r\nERR x\r\n",
        "+OK\rno",
        ":seven\r\n",
        ":\r\n",
        ":-\r\n",
        ":9223372036854775808\r\n",
        "$5\r\nhello!\r\n",
        "$-2\r\n",
        "$1048577\r\n",
        "$99999999999999999999\r\n",
        "*-2\r\n",
        "*1048577\r\n",
        "*1\r\n?\r\n",
        // RESP3, which is not asked for: a push, a map, a double.
        ">2\r\n+invalidate\r\n*0\r\n",
        "%1\r\n+a\r\n+b\r\n",
        ",1.5\r\n",
    ] {
        let read = length(bytes.as_bytes(), 1);
        assert_eq!(read, Err(Unreadable::Malformed), "{bytes:?}");
    }
    let endless = [b'+'; LONGEST_LINE];
    assert_eq!(length(&endless[1..], 1), Err(Unreadable::Cut));
    assert_eq!(length(&endless, 1), Err(Unreadable::Malformed));
}

/// What Redis answers to a request of ours.
const EXECUTED: &str = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n\
    *4\r\n$1\r\n7\r\n$16\r\n1800000000000001\r\n$5\r\nhello\r\n$22\r\n1.8000000000000010e+15\r\n";

#[test]
fn a_transaction_gives_the_replies_to_its_commands() {
    let mut reader = Reader::of_transaction(EXECUTED.as_bytes(), 0, 4).expect("replies");
    assert_eq!(reader.number().expect("a number"), 1);
    let micros = Some(LogTime::from_micros(1_800_000_000_000_001));
    assert_eq!(reader.times().expect("times"), [micros; 2]);
    assert!(reader.number().is_err(), "no reply is left");

    let asking = format!("+OK\r\n{EXECUTED}");
    let mut reader = Reader::of_transaction(asking.as_bytes(), 1, 5).expect("replies");
    assert_eq!(reader.number().expect("a number"), 1);
    assert!(Reader::of_transaction(asking.as_bytes(), 0, 5).is_err());
}

#[test]
fn of_several_errors_the_first_says_why_a_transaction_was_not_executed() {
    for (replies, code, detail) in [
        (
            "-NOAUTH first\r\n-NOAUTH a\r\n-ERR EXEC without MULTI\r\n",
            "NOAUTH",
            Some("first"),
        ),
        (
            "+OK\r\n-NOPERM no\r\n-EXECABORT because of errors\r\n",
            "NOPERM",
            Some("no"),
        ),
        (
            "+OK\r\n-MOVED 7 10.0.0.2:7001\r\n-EXECABORT because of errors\r\n",
            "MOVED",
            Some("7 10.0.0.2:7001"),
        ),
        (
            "+OK\r\n-LOADING Redis is loading\r\n-EXECABORT because of errors\r\n",
            "LOADING",
            Some("Redis is loading"),
        ),
        // Between the commands and `EXEC`, the slot has moved, the server has become a replica, or it loads.
        (
            "+OK\r\n+QUEUED\r\n-ASK 7 10.0.0.2:7001\r\n",
            "ASK",
            Some("7 10.0.0.2:7001"),
        ),
        (
            "+OK\r\n+QUEUED\r\n-READONLY a replica\r\n",
            "READONLY",
            Some("a replica"),
        ),
        ("+OK\r\n+QUEUED\r\n-LOADING\r\n", "LOADING", None),
        (
            "+OK\r\n+QUEUED\r\n-EXECABORT for another reason\r\n",
            "EXECABORT",
            Some("for another reason"),
        ),
    ] {
        let read = Reader::of_transaction(replies.as_bytes(), 0, 3);
        let error = read.err().expect("an error");
        assert_eq!(error.code(), Some(code), "{replies}");
        assert_eq!(error.detail(), detail, "{replies}");
    }
}

#[test]
fn an_error_in_a_transaction_that_was_executed_is_about_one_command() {
    let executed = "+OK\r\n+QUEUED\r\n*1\r\n-WRONGTYPE Operation against a key\r\n";
    let mut reader = Reader::of_transaction(executed.as_bytes(), 0, 3).expect("replies");
    let error = reader.number().expect_err("an error");
    assert_eq!(error.code(), Some("WRONGTYPE"));
    assert_eq!(error.detail(), Some("Operation against a key"));
}

/// So it is sorted like one.
#[test]
fn an_error_is_the_same_as_one_of_the_library() {
    for error in ["MOVED 7 a:1", "READONLY no", "ERR", "OOM too much"] {
        let reply = format!("-{error}\r\n");
        let library = parse_redis_value(reply.as_bytes()).and_then(Value::extract_error);
        let lean = Reader::new(reply.as_bytes()).skip();
        assert_eq!(lean.err(), library.err(), "{error}");
    }
}

#[test]
fn a_transaction_without_one_reply_for_each_command_is_an_error() {
    for exec in [
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n:1\r\n",
        ":1\r\n",
        "+OK\r\n",
    ] {
        let replies = format!("+OK\r\n+QUEUED\r\n{exec}");
        let read = Reader::of_transaction(replies.as_bytes(), 0, 3);
        assert!(read.is_err(), "{exec:?}");
    }
}

#[test]
fn each_kind_of_reply_is_read_and_no_other_is_taken_for_it() {
    type Read<T> = fn(&mut Reader<'static>) -> RedisResult<T>;
    fn read<T>(reply: &'static str, read: Read<T>) -> Option<T> {
        read(&mut Reader::new(reply.as_bytes())).ok()
    }
    let micros = |micros| Some(LogTime::from_micros(micros));
    assert_eq!(read(":7\r\n", Replies::number), Some(7));
    assert_eq!(read("$1\r\n7\r\n", Replies::score), Some(micros(7)));
    assert_eq!(read("$-1\r\n", Replies::score), Some(None));
    assert_eq!(read("*0\r\n", Replies::times), Some([None; 2]));
    let one = "*2\r\n$1\r\na\r\n$1\r\n2\r\n";
    assert_eq!(read(one, Replies::times), Some([micros(2), None]));

    for (reply, expected) in [
        ("+OK\r\n", [false; 3]),
        ("-ERR what\r\n", [false; 3]),
        (":7\r\n", [true, false, false]),
        ("$1\r\n7\r\n", [false, true, false]),
        ("$1\r\nx\r\n", [false; 3]),
        ("*-1\r\n", [false; 3]),
        ("*2\r\n:1\r\n:2\r\n", [false; 3]),
        ("*2\r\n$1\r\n1\r\n$1\r\n2\r\n", [false, false, true]),
        ("*2\r\n$1\r\n1\r\n$1\r\nx\r\n", [false; 3]),
        ("*2\r\n$1\r\n1\r\n$-1\r\n", [false; 3]),
    ] {
        let kinds = [
            read(reply, Replies::number).is_some(),
            read(reply, Replies::score).is_some(),
            read(reply, Replies::times).is_some(),
        ];
        assert_eq!(kinds, expected, "{reply:?}");
        let is_error = reply.starts_with('-');
        assert_eq!(read(reply, Reader::skip).is_none(), is_error, "{reply:?}");
    }
}

#[test]
fn replies_to_other_commands_become_values_of_the_library() {
    let all = REPLIES.concat();
    let values = values(all.as_bytes(), REPLIES.len()).expect("values");
    let expected = REPLIES
        .iter()
        .map(|reply| parse_redis_value(reply.as_bytes()));
    let expected: Vec<_> = expected.map(|value| value.expect("a value")).collect();
    assert_eq!(values, expected);
    assert!(super::values(all.as_bytes(), REPLIES.len() + 1).is_err());
}

#[test]
fn what_is_skipped_is_skipped_wholly() {
    let last = ":7\r\n";
    for reply in REPLIES.iter().filter(|reply| !reply.starts_with('-')) {
        let bytes = [reply, last].concat();
        let mut reader = Reader::new(bytes.as_bytes());
        reader.skip().expect(reply);
        assert_eq!(reader.number().expect(reply), 7);
    }
}
