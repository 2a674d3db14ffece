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

const AT: i64 = 1_800_000_000_000_001;
const SECOND: i64 = 1_000_000;

/// A request of "2/10s" at `AT`.
fn request(is_repeated: bool) -> Record<'static> {
    Record {
        key: "rate_limit:192.0.2.1",
        quota: Quota::new(2, Duration::from_secs(10)).expect("a quota"),
        entry: LogEntry {
            at: LogTime::from_micros(AT),
            member: 7,
        },
        earlier: &[],
        is_repeated,
        removes_ahead: false,
    }
}

/// The reply to `ZRANGE` for entries that came so many seconds before the request.
fn range_of(ages: &[i64]) -> Value {
    let scores = ages.iter().map(|age| (AT - age * SECOND).to_string());
    Value::Array(scores.flat_map(|score| [text("1"), text(&score)]).collect())
}

/// The replies to a request after which the log has `count` entries.
fn replies(added: i64, count: i64) -> Vec<Value> {
    let range = range_of(&[6, 5]);
    let [added, removed, count, expires] = [added, 0, count, 1].map(Value::Int);
    vec![added, removed, count, range, expires]
}

/// What Redis says of a request, after `more` replies to the commands before the usual ones.
fn decided(is_repeated: bool, more: &[Value], added: i64) -> Option<bool> {
    let record = request(is_repeated);
    let replies = [more, &replies(added, 1)].concat();
    assert_eq!(replies.len(), record.commands());
    let logged = record.logged(&replies).expect("replies");
    logged.map(|logged| record.recorded(logged).decision.admitted)
}

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
fn a_log_that_is_too_long_decides_once_it_is_short() {
    let record = request(false);
    let logged = |count| {
        let logged = record.logged(&replies(1, count));
        logged.expect("replies").expect("a member that was free")
    };
    assert!(!record.has_surplus(logged(3)));
    assert!(record.has_surplus(logged(4)));
    for (left, seconds) in [
        (&[5, 1][..], 9),
        // Another node has removed what has left the window by now: L are left, of which the oldest decides.
        (&[1], 9),
        // Fewer than L: this client is admitted again by then.
        (&[], 5),
    ] {
        let shortened = Surplus(&record, logged(4)).logged(&[Value::Int(1), range_of(left)]);
        let recorded = record.recorded(shortened.expect("replies"));
        assert!(!recorded.decision.admitted);
        assert_eq!(recorded.decision.reset_seconds(), seconds, "{left:?}");
    }
}

#[test]
fn a_missing_reply_is_an_error() {
    let record = request(false);
    for length in 0..5 {
        assert!(record.logged(&replies(1, 1)[..length]).is_err(), "{length}");
    }
    let logged = Logged {
        count: 4,
        first: [None; 2],
    };
    assert!(Surplus(&record, logged).logged(&[Value::Int(1)]).is_err());
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
