use deadpool_redis::redis::Value;

use super::*;

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

fn text(text: impl ToString) -> Value {
    Value::BulkString(text.to_string().into_bytes())
}

/// The reply to `ZRANGE` for entries that came so many seconds before the request.
fn range_of(ages: &[i64]) -> Value {
    let scores = ages.iter().map(|age| AT - age * SECOND);
    Value::Array(scores.flat_map(|score| [text(1), text(score)]).collect())
}

/// The replies to a request after which the log has `count` entries.
fn replies(added: i64, count: i64) -> Vec<Value> {
    let range = range_of(&[6, 5]);
    let [added, removed, count, expire] = [added, 0, count, 1].map(Value::Int);
    vec![added, removed, count, range, expire]
}

#[test]
fn only_what_was_sent_before_and_has_the_same_time_is_the_same_request() {
    let decided = |known: Option<Value>, added| {
        let record = request(known.is_some());
        let replies = known.into_iter().chain(replies(added, 1));
        let replies = replies.collect::<Vec<_>>();
        let logged = record.read(&mut replies.into_iter()).expect("replies");
        logged.map(|logged| record.recorded(logged).decision.admitted)
    };
    assert_eq!(decided(None, 1), Some(true));
    assert_eq!(decided(None, 0), None);
    assert_eq!(
        decided(Some(Value::Nil), 1),
        Some(true),
        "lost on its way there"
    );
    assert_eq!(
        decided(Some(text(AT)), 0),
        Some(true),
        "lost on its way back"
    );
    assert_eq!(decided(Some(text(AT + 1)), 0), None);
    assert_eq!(decided(Some(Value::Double(AT as f64)), 0), Some(true));
}

#[test]
fn a_log_that_is_too_long_decides_once_it_is_short() {
    let record = request(false);
    let logged = |count| {
        let logged = record.read(&mut replies(1, count).into_iter());
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
        let replies = vec![Value::Int(1), range_of(left)];
        let trimmed = Surplus(&record, logged(4)).read(&mut replies.into_iter());
        let recorded = record.recorded(trimmed.expect("replies"));
        assert!(!recorded.decision.admitted);
        assert_eq!(recorded.decision.reset_seconds(), seconds, "{left:?}");
    }
}

#[test]
fn a_missing_reply_is_an_error() {
    let record = request(false);
    for length in 0..5 {
        let mut cut = replies(1, 1);
        cut.truncate(length);
        let logged = record.read(&mut cut.into_iter());
        assert!(logged.is_err(), "{length}");
    }
}
