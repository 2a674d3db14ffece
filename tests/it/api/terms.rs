//! Aliases, expiry, a number of visits.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client, eventually};
use tokio::task::JoinSet;

use super::exchange::{JSON, assert_problem, assert_status, post, post_form, send, unlimited};

const TARGET: &str = "https://example.com/";

async fn shorten_with(client: &Client, field: &str, value: &str) -> Answer {
    send(post_form(client, &[("url", TARGET), (field, value)])).await
}

async fn shorten_json(client: &Client, body: Value) -> Answer {
    send(post(client, JSON, body.to_string())).await
}

async fn head(client: &Client, path: &str) -> Answer {
    send(client.request(Method::HEAD, path)).await
}

#[tokio::test]
async fn an_alias_is_the_code_and_belongs_to_the_first_who_asks() {
    let node = unlimited().start().await;
    let client = node.client();
    let answer = shorten_with(&client, "alias", "my-link_2").await;
    assert_eq!(answer.code(), "my-link_2");
    let short_url = answer.json()["short_url"].as_str().unwrap().to_owned();
    assert!(short_url.ends_with("/my-link_2"), "{short_url}");

    for url in ["https://example.org/", TARGET] {
        let body = json!({ "url": url, "alias": "my-link_2" });
        let answer = shorten_json(&client, body).await;
        assert_problem(&answer, 409, "an alias that is taken");
    }
    let answer = client.get("/my-link_2").await;
    assert_eq!(answer.header("location"), Some(TARGET));

    // A code that another link got by chance is taken. An alias in another case is another alias.
    let random = client.shorten("https://example.net/").await.code();
    let answer = shorten_with(&client, "alias", &random).await;
    assert_problem(&answer, 409, "a code that is taken");
    let answer = shorten_with(&client, "alias", "My-Link_2").await;
    assert_eq!(answer.code(), "My-Link_2");
}

#[tokio::test]
async fn an_alias_that_cannot_be_one_is_rejected() {
    let node = unlimited().start().await;
    let client = node.client();
    let too_long = "x".repeat(65);
    for alias in [
        "shorten", "Shorten", "METRICS", "livez", "readyz", "favicon", "robots", "api", "ab",
        "a b c", "a/b/c", "a.b.c", "../etc", "ümlaut", "%41bc", "abc\0", "abc\n", &too_long,
    ] {
        let answer = shorten_with(&client, "alias", alias).await;
        assert_problem(&answer, 422, alias);
    }
    let longest = "x".repeat(64);
    assert_eq!(
        shorten_with(&client, "alias", &longest).await.code(),
        longest
    );
}

#[tokio::test]
async fn a_link_works_until_it_expires_and_is_gone_then() {
    let node = unlimited().start().await;
    let client = node.client();
    let asked = Instant::now();
    let answers = [
        shorten_with(&client, "expires_in", "2").await,
        shorten_with(&client, "expires_in", "2s").await,
        shorten_json(&client, json!({ "url": TARGET, "expires_in": 2 })).await,
        shorten_json(&client, json!({ "url": TARGET, "expires_in": "2" })).await,
    ];
    for answer in answers {
        let path = format!("/{}", answer.code());
        eventually("the link expires", async || {
            let answer = client.get(&path).await;
            let status = answer.status.as_u16();
            assert!([302, 410].contains(&status), "{answer:?}");
            (status == 410).then_some(())
        })
        .await;
        let after = asked.elapsed();
        assert!(after >= Duration::from_secs(2), "gone after {after:?}");
        assert_problem(&client.get(&path).await, 410, "an expired link");
        assert_status(&head(&client, &path).await, 410, "HEAD of an expired link");
    }
}

#[tokio::test]
async fn a_link_is_not_gone_before_it_expires() {
    use sqlx::{Connection, SqliteConnection};

    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let node = unlimited().set("database.url", &url).start().await;
    let client = node.client();
    let mut file = SqliteConnection::connect(&url).await.expect("the file");
    for (expires_in, seconds) in [
        ("60", 60.0),
        ("60s", 60.0),
        ("7d", 604_800.0),
        // A year has 365.25 days.
        ("10y", 315_576_000.0),
        ("1m 30s", 90.0),
    ] {
        let code = shorten_with(&client, "expires_in", expires_in).await.code();
        let answer = client.get(&format!("/{code}")).await;
        assert_status(&answer, 302, expires_in);
        let lives = "SELECT expires_at - created_at FROM urls WHERE short_code = ?";
        let lives: Vec<f64> = sqlx::query_scalar(lives)
            .bind(&code)
            .fetch_all(&mut file)
            .await
            .expect("a link that expires");
        assert!((lives[0] - seconds).abs() < 1.0, "{expires_in}: {lives:?}");
    }
}

#[tokio::test]
async fn a_link_is_gone_after_its_last_visit_and_head_is_no_visit() {
    let node = unlimited().start().await;
    let client = node.client();
    let answer = shorten_json(&client, json!({ "url": TARGET, "max_visits": 2 })).await;
    let path = format!("/{}", answer.code());
    for (step, (method, status)) in [
        (Method::HEAD, 200),
        (Method::HEAD, 200),
        (Method::HEAD, 200),
        (Method::GET, 302),
        (Method::HEAD, 200),
        (Method::GET, 302),
        (Method::HEAD, 410),
        (Method::GET, 410),
        (Method::GET, 410),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(client.request(method, &path)).await;
        assert_status(&answer, status, &format!("step {step}"));
        let location = (status == 302).then_some(TARGET);
        assert_eq!(answer.header("location"), location, "step {step}");
    }
    assert_problem(&client.get(&path).await, 410, "a used-up link");
}

#[tokio::test]
async fn of_thirty_visits_at_once_exactly_the_five_that_are_allowed_succeed() {
    let node = unlimited().start().await;
    let code = shorten_with(&node.client(), "max_visits", "5").await.code();
    let mut visits = JoinSet::new();
    for number in 0..30 {
        let client = node.client_at([127, 0, 3, number]);
        let path = format!("/{code}");
        visits.spawn(async move { client.get(&path).await.status.as_u16() });
    }
    let mut statuses = visits.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![302; 5], vec![410; 25]].concat());
}

#[tokio::test]
async fn impossible_terms_are_rejected() {
    let node = unlimited().start().await;
    let client = node.client();
    for (field, values) in [
        (
            "expires_in",
            &[
                "0",
                "-1",
                "soon",
                "1.5",
                "0s",
                "11y",
                "99999999999999999999",
                "NaN",
            ][..],
        ),
        (
            "max_visits",
            &[
                "0",
                "-1",
                "many",
                "1.5",
                "1000000001",
                "99999999999999999999",
                "0x10",
            ],
        ),
    ] {
        for value in values {
            let answer = shorten_with(&client, field, value).await;
            let error = assert_problem(&answer, 422, &format!("{field}={value}"));
            assert!(error.contains(field), "{error}");
        }
    }
}

#[tokio::test]
async fn a_link_with_terms_is_not_deduplicated() {
    let node = unlimited().start().await;
    let client = node.client();
    let plain = client.shorten(TARGET).await.code();
    let first = shorten_with(&client, "max_visits", "1").await.code();
    let second = shorten_with(&client, "max_visits", "1").await.code();
    let expiring = shorten_with(&client, "expires_in", "1h").await.code();
    let codes = HashSet::from([&plain, &first, &second, &expiring]);
    assert_eq!(codes.len(), 4, "{codes:?}");
    // A visit of the first uses up only the first.
    for (code, status) in [
        (&first, 302),
        (&first, 410),
        (&second, 302),
        (&plain, 302),
        (&plain, 302),
    ] {
        let answer = client.get(&format!("/{code}")).await;
        assert_status(&answer, status, code);
    }
    assert_eq!(client.shorten(TARGET).await.code(), plain);
}
