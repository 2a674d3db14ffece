//! What links can have: how visitors are led, fallbacks, a start, being taken down, the length of the code, labels.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Client, eventually, wall_clock};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::exchange::{JSON, assert_problem, assert_status, post, post_form, send, unlimited};

const TARGET: &str = "https://example.com/a?b=1#top";

async fn shorten(client: &Client, options: Value) -> Answer {
    let mut body = json!({ "url": TARGET });
    let members = body.as_object_mut().expect("an object");
    members.extend(options.as_object().expect("an object").clone());
    send(post(client, JSON, body.to_string())).await
}

async fn made(client: &Client, options: Value) -> String {
    let answer = shorten(client, options).await;
    format!("/{}", answer.code())
}

/// A time, this long from now, as RFC 3339 writes it.
fn after(duration: Duration) -> String {
    let time = OffsetDateTime::from(wall_clock() + duration);
    time.format(&Rfc3339).expect("a time")
}

#[tokio::test]
async fn a_link_redirects_with_its_status_and_says_how_long_that_may_be_remembered() {
    for capacity in ["10000", "0"] {
        let node = unlimited().set("cache.capacity", capacity).start().await;
        let client = node.client();
        for (status, control) in [
            (301, Some("private, max-age=86400")),
            (302, None),
            (303, None),
            (307, None),
            (308, Some("private, max-age=86400")),
        ] {
            let path = made(&client, json!({ "redirect": status })).await;
            // Looked up, and from the cache.
            for _ in 0..2 {
                let answer = client.get(&path).await;
                assert_status(&answer, status, &path);
                assert_eq!(answer.header("location"), Some(TARGET));
                assert_eq!(answer.header("cache-control"), control, "{status}");
            }
        }
        // Nobody remembers it for longer than it works, or past the visits that are counted.
        let path = made(&client, json!({ "redirect": 301, "expires_in": 60 })).await;
        for _ in 0..2 {
            let answer = client.get(&path).await;
            let control = answer.header("cache-control").expect("a bound");
            let seconds = control.strip_prefix("private, max-age=").expect(control);
            let seconds: u64 = seconds.parse().expect(control);
            assert!((1..=60).contains(&seconds), "{control}");
        }
        let path = made(&client, json!({ "redirect": 308, "max_visits": 2 })).await;
        for _ in 0..2 {
            let answer = client.get(&path).await;
            assert_status(&answer, 308, &path);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        assert_problem(&client.get(&path).await, 410, "a used-up link");
    }
}

#[tokio::test]
async fn the_query_of_a_visitor_is_added_only_if_the_link_says_so() {
    let node = unlimited().start().await;
    let client = node.client();
    let forwards = made(&client, json!({ "forward_query": true })).await;
    let keeps = made(&client, json!({ "forward_query": false })).await;
    for (query, expected) in [
        ("", TARGET),
        ("?", TARGET),
        (
            "?b=2&c=%41+d%20",
            "https://example.com/a?b=1&b=2&c=%41+d%20#top",
        ),
        (
            "?c=%0D%0Aset-cookie:x",
            "https://example.com/a?b=1&c=%0D%0Aset-cookie:x#top",
        ),
    ] {
        for _ in 0..2 {
            let answer = client.get(&format!("{forwards}{query}")).await;
            assert_eq!(answer.header("location"), Some(expected), "{query}");
            let answer = client.get(&format!("{keeps}{query}")).await;
            assert_eq!(answer.header("location"), Some(TARGET), "{query}");
        }
    }
}

#[tokio::test]
async fn a_link_that_is_over_leads_to_its_fallback() {
    let node = unlimited().start().await;
    let client = node.client();
    let fallback = "https://example.org/over";
    let used_up = json!({ "fallback_url": fallback, "max_visits": 1, "redirect": 301 });
    let path = made(&client, used_up).await;
    assert_eq!(client.get(&path).await.header("location"), Some(TARGET));
    for _ in 0..2 {
        let answer = client.get(&path).await;
        assert_status(&answer, 302, "a used-up link");
        assert_eq!(answer.header("location"), Some(fallback));
    }
    let path = made(
        &client,
        json!({ "fallback_url": fallback, "expires_in": 1 }),
    )
    .await;
    assert_eq!(client.get(&path).await.header("location"), Some(TARGET));
    eventually("the link expires", async || {
        let answer = client.get(&path).await;
        assert_status(&answer, 302, "an expired link");
        (answer.header("location") == Some(fallback)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_link_works_only_between_its_start_and_its_end() {
    let node = unlimited().set("cache.miss_ttl", "1m").start().await;
    let client = node.client();
    let times = json!({ "starts_at": after(Duration::from_secs(2)), "expires_at": after(Duration::from_secs(5)) });
    let path = made(&client, times).await;
    assert_problem(&client.get(&path).await, 404, "a link that has not started");
    let is = async |status: u16| client.get(&path).await.status == status;
    eventually("it starts", async || is(302).await.then_some(())).await;
    eventually("it ends", async || is(410).await.then_some(())).await;
}

#[tokio::test]
async fn a_link_can_be_made_disabled() {
    let node = unlimited().start().await;
    let client = node.client();
    let path = made(
        &client,
        json!({ "enabled": false, "fallback_url": "https://example.org/" }),
    )
    .await;
    assert_problem(&client.get(&path).await, 410, "a disabled link");
}

#[tokio::test]
async fn a_code_has_the_length_that_is_asked_for() {
    let node = unlimited().start().await;
    let client = node.client();
    for length in [4, 12, 32] {
        let code = shorten(&client, json!({ "code_length": length }))
            .await
            .code();
        assert_eq!(code.len(), length);
    }
}

#[tokio::test]
async fn a_link_with_anything_of_its_own_is_a_link_of_its_own() {
    let node = unlimited().start().await;
    let client = node.client();
    let shared = shorten(&client, json!({})).await.code();
    for own in [
        json!({ "code_length": 6 }),
        json!({ "starts_at": after(Duration::from_secs(60)) }),
        json!({ "expires_at": after(Duration::from_secs(60)) }),
        json!({ "redirect": 301 }),
        json!({ "forward_query": true }),
        json!({ "fallback_url": "https://example.org/" }),
        json!({ "enabled": false }),
        json!({ "title": "A title" }),
        json!({ "note": "A note" }),
        json!({ "tags": ["a"] }),
    ] {
        let code = shorten(&client, own.clone()).await.code();
        assert_ne!(code, shared, "{own}");
    }
    // What is the default is nothing of its own.
    for nothing in [
        json!({ "redirect": 302, "forward_query": false, "enabled": true }),
        json!({ "title": " ", "note": "", "tags": [], "fallback_url": null }),
        json!({ "starts_at": "2020-01-01T00:00:00Z" }),
    ] {
        let code = shorten(&client, nothing.clone()).await.code();
        assert_eq!(code, shared, "{nothing}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_the_name_of_its_field_and_nothing_is_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let node = unlimited().set("database.url", &url).start().await;
    let client = node.client();
    let long = "x".repeat(9_000);
    for (field, wrong) in [
        ("code_length", json!({ "code_length": 3 })),
        ("code_length", json!({ "code_length": 6, "alias": "mine" })),
        (
            "expires_at",
            json!({ "expires_at": "2020-01-01T00:00:00Z" }),
        ),
        (
            "expires_at",
            json!({ "expires_at": "9999-12-31T23:59:59Z" }),
        ),
        ("expires_at", json!({ "expires_at": "tomorrow" })),
        (
            "expires_at",
            json!({ "expires_at": "2030-01-01T00:00:00Z", "expires_in": 60 }),
        ),
        ("starts_at", json!({ "starts_at": "2100-01-01T00:00:00Z" })),
        (
            "starts_at",
            json!({ "starts_at": after(Duration::from_secs(90)), "expires_in": 60 }),
        ),
        ("redirect", json!({ "redirect": 304 })),
        ("redirect", json!({ "redirect": 70_000 })),
        (
            "fallback_url",
            json!({ "fallback_url": "javascript:alert(1)" }),
        ),
        ("fallback_url", json!({ "fallback_url": "/relative" })),
        (
            "fallback_url",
            json!({ "fallback_url": format!("https://example.com/{long}") }),
        ),
        ("title", json!({ "title": "two\nlines" })),
        ("title", json!({ "title": long })),
        ("note", json!({ "note": "\u{1b}[2J" })),
        ("note", json!({ "note": long })),
        ("tags", json!({ "tags": ["a\u{0}"] })),
        ("tags", json!({ "tags": ["a,b"] })),
        ("tags", json!({ "tags": [""] })),
        ("tags", json!({ "tags": vec!["x".repeat(51)] })),
        (
            "tags",
            json!({ "tags": (0..21).map(|n| n.to_string()).collect::<Vec<_>>() }),
        ),
    ] {
        let answer = shorten(&client, wrong.clone()).await;
        let error = assert_problem(&answer, 422, &wrong.to_string());
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    for (field, malformed) in [
        ("expires_at", json!({ "expires_at": 5 })),
        ("enabled", json!({ "enabled": "perhaps" })),
        ("forward_query", json!({ "forward_query": 1 })),
        ("tags", json!({ "tags": {} })),
        ("tags", json!({ "tags": [1] })),
        ("title", json!({ "title": [] })),
    ] {
        let answer = shorten(&client, malformed.clone()).await;
        let error = assert_problem(&answer, 400, &malformed.to_string());
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }
    // Neither the target nor the fallback may be a link of this service.
    let own = client.shorten(TARGET).await.json()["short_url"].clone();
    let answer = shorten(&client, json!({ "fallback_url": own })).await;
    let error = assert_problem(&answer, 422, "a fallback that is a short link");
    assert!(error.contains("`fallback_url`"), "{error}");

    use sqlx::{Connection, SqliteConnection};
    let mut file = SqliteConnection::connect(&url).await.expect("the file");
    let count: Vec<i64> = sqlx::query_scalar("SELECT count(*) FROM urls")
        .fetch_all(&mut file)
        .await
        .expect("a number");
    assert_eq!(count, [1], "only the one that was right");
}

/// A form whose writer has not encoded the plus sign of an offset, as with `curl -d`.
#[tokio::test]
async fn a_form_can_have_everything_that_json_can_have() {
    let node = unlimited().start().await;
    let client = node.client();
    let next_year = after(Duration::from_secs(366 * 86_400)).replace('Z', "+00:00");
    let answer = send(post_form(
        &client,
        &[
            ("url", TARGET),
            ("expires_at", &next_year),
            ("redirect", "307"),
            ("forward_query", "on"),
            ("fallback_url", "https://example.org/"),
            ("title", "A title"),
            ("note", "one\r\ntwo"),
            ("tags", "a, b,"),
            ("enabled", ""),
        ],
    ))
    .await;
    let path = format!("/{}?c=2", answer.code());
    let answer = client.get(&path).await;
    assert_status(&answer, 307, "a link from a form");
    assert_eq!(
        answer.header("location"),
        Some("https://example.com/a?b=1&c=2#top")
    );
    let body = format!("url=https://example.com/&expires_at={next_year}");
    let form = "application/x-www-form-urlencoded";
    let answer = send(post(&client, form, body)).await;
    assert_status(&answer, 200, "a plus sign");
}

#[tokio::test]
async fn the_home_page_and_unknown_codes_lead_where_the_configuration_says() {
    let (home, not_found) = ("https://example.com/home?a=1", "https://example.com/404");
    let node = unlimited()
        .set("links.home_url", home)
        .set("links.not_found_url", not_found)
        .start()
        .await;
    let client = node.client();
    for (path, location) in [
        ("/", home),
        ("/nobodys", not_found),
        ("/nobodys).", not_found),
        ("/%20", not_found),
    ] {
        let answer = client.get(path).await;
        assert_status(&answer, 302, path);
        assert_eq!(answer.header("location"), Some(location), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    // What was there, and what cannot be a code, does not lead there.
    let path = made(&client, json!({ "enabled": false })).await;
    assert_problem(&client.get(&path).await, 410, "a disabled link");
    assert_problem(&client.get("/a/b").await, 404, "no code");
    let code = client.shorten(TARGET).await.code();
    assert_eq!(
        client.get(&format!("/{code}")).await.header("location"),
        Some(TARGET)
    );
}
