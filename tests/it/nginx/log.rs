//! The access log: every line is JSON for any request.

use testkit::{Node, eventually, needs};
use tokio::io::AsyncWriteExt;

use super::{Front, connect, get, read_to_end, status};
use crate::keys::{create, unknown};

/// Requests with bytes that are not UTF-8 or that JSON must escape, in every place where nginx lets them in.
fn hostile() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for bytes in [
        &b"\xff"[..],
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xc3\xa4",
        b"\"\\\x1f\x7f",
        b"%ff%00",
        b"\xff?\xff",
    ] {
        for (before, after) in [
            ("GET /", " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            (
                "GET /a?",
                " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            ),
            ("G", "T / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: ", "\r\nConnection: close\r\n\r\n"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: curl",
                "\r\n\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: ",
                "\r\n\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: ",
                "\r\n\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX",
                ": a\r\n\r\n",
            ),
            ("", "\r\n\r\n"),
        ] {
            requests.push([before.as_bytes(), bytes, after.as_bytes()].concat());
        }
    }
    // Longer than every buffer of nginx.
    requests.push([b"GET /", &b"\xff".repeat(9_000)[..], b" HTTP/1.1\r\n\r\n"].concat());
    requests
}

#[tokio::test]
async fn every_line_is_json_whatever_bytes_a_client_sends() {
    needs!("nginx");
    // The log also has the addresses that a proxy names.
    let front = Front::start_for_any_client().await;
    let requests = hostile();
    for request in &requests {
        let mut connection = connect([127, 0, 0, 1], front.nginx.address()).await;
        let _ = connection.write_all(request).await;
        // Some requests end in the middle of a head.
        let _ = connection.shutdown().await;
        read_to_end(connection).await;
    }
    front.exchange(&get("/last", "")).await;
    let log = eventually("nginx has written its log", async || {
        let log = front.nginx.access_log_bytes();
        let log = log.ends_with(b"\n").then_some(log)?;
        let last = log.windows(7).any(|window| window == b"\"/last\"");
        last.then_some(log)
    })
    .await;
    let text = String::from_utf8(log).expect("UTF-8");
    assert!(text.lines().count() > requests.len() / 2, "{text}");
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect(line);
        for (name, value) in entry.as_object().expect("an object") {
            assert!(value.as_str().is_some_and(str::is_ascii), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn a_path_is_logged_as_it_was_sent_and_cut_off_where_it_is_not_ascii() {
    needs!("nginx");
    let front = Front::start().await;
    for (target, user_agent, logged) in [
        ("/a%ffb%20c?d=e", "plain", ["/a%ffb%20c", "plain"]),
        ("/a//b", "with \"quotes\"", ["/a//b", "with \"quotes\""]),
        ("/ab\u{e4}c", "caf\u{e9} 1", ["/ab...", "caf..."]),
        ("/q?\u{e4}", "", ["/q", ""]),
    ] {
        let before = front.log().len();
        front
            .exchange(&get(target, &format!("User-Agent: {user_agent}\r\n")))
            .await;
        let entry = eventually("nginx has written its log", async || {
            front.log().into_iter().nth(before)
        })
        .await;
        assert_eq!(entry["path"], logged[0], "{entry}");
        assert_eq!(entry["user_agent"], logged[1], "{entry}");
    }
}

/// nginx passes on the id that it logs, so both logs have the same id for a request.
#[tokio::test]
async fn the_id_in_the_log_is_the_one_of_the_answer() {
    needs!("nginx");
    let front = Front::start().await;
    let longest = "a".repeat(128);
    let too_long = "a".repeat(129);
    for (given, kept) in [
        ("7f3a-11", true),
        ("Root=1-67891233:a/b+c.d_e", true),
        (&*longest, true),
        (&*too_long, false),
        ("has space", false),
        ("\u{e4}", false),
        ("{\"a\":1}", false),
    ] {
        let before = front.log().len();
        let answer = front
            .exchange(&get("/", &format!("X-Request-Id: {given}\r\n")))
            .await;
        let entry = eventually("nginx has written its log", async || {
            front.log().into_iter().nth(before)
        })
        .await;
        let logged = entry["request_id"].as_str().expect("an id");
        assert_eq!(logged == given, kept, "{entry}");
        assert!(
            answer.contains(&format!("x-request-id: {logged}\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_key_works_through_nginx_and_is_not_in_its_log() {
    needs!("nginx");
    let front = Front::start_with("", |node| node.set("limiter.exempt", "")).await;
    let builder = Node::builder().set("database.url", &front.database());
    let (good, bad) = (create(&builder, "phone", &[]), unknown());
    for (number, (key, expected)) in [(&good, 404), (&bad, 401)].into_iter().enumerate() {
        for header in ["Authorization: Bearer", "X-Api-Key:"] {
            let request = get(&format!("/k{number}"), &format!("{header} {key}\r\n"));
            let answer = front.exchange(&request).await;
            assert_eq!(status(&answer), expected, "{answer}");
        }
    }
    // Taken for the name of a key.
    let mistaken = front
        .exchange(&get(&format!("/api/v1/keys/{good}?x"), ""))
        .await;
    assert_eq!(status(&mistaken), 404, "{mistaken}");
    front.exchange(&get("/last", "")).await;
    eventually("nginx has written its log", async || {
        let log = front.log();
        log.iter()
            .any(|entry| entry["path"] == "/last")
            .then_some(())
    })
    .await;
    let log = front.nginx.access_log();
    assert_eq!(log.lines().count(), 6, "{log}");
    assert!(log.contains("\"/api/v1/keys/shunt_...\""), "{log}");
    for key in [good, bad] {
        assert!(!log.contains(&key[10..30]), "{log}");
    }
}
