//! `POST /shorten`: what goes in and what comes out.

use std::collections::HashSet;

use serde_json::json;
use testkit::{Postgres, needs};
use tokio::task::JoinSet;

use super::exchange::{FORM, JSON, assert_status, post, post_form, send, unlimited};

#[tokio::test]
async fn a_form_and_json_get_the_same_three_members() {
    let node = unlimited()
        .set("http.public_url", "https://sho.rt")
        .start()
        .await;
    let client = node.client();
    for (content_type, body) in [
        (FORM, "url=https%3A%2F%2Fexample.com%2Fa%2Bb%3Fq%3D1%262"),
        (FORM, "url=https://example.com/a%2bb?q=1%262"),
        (JSON, r#"{"url": "https://example.com/a+b?q=1&2"}"#),
        (
            "application/x-www-form-urlencoded; charset=UTF-8",
            "url=https://example.com/a%2Bb?q%3D1%262",
        ),
        (
            "application/json; charset=utf-8",
            r#"{"url":"https://example.com/a+b?q=1\u00262"}"#,
        ),
        (
            "Application/JSON",
            r#" {"url":"https:\/\/example.com/a+b?q=1&2"} "#,
        ),
    ] {
        let answer = send(post(&client, content_type, body)).await;
        let code = answer.code();
        let expected = json!({
            "short_url": format!("https://sho.rt/{code}"),
            "code": code,
            "original_url": "https://example.com/a+b?q=1&2",
        });
        assert_eq!(answer.json(), expected, "{content_type}: {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(code.len(), 6, "{code}");
        assert!(code.bytes().all(|b| b.is_ascii_alphanumeric()), "{code}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_url_gets_the_same_code() {
    let node = unlimited().start().await;
    let client = node.client();
    for spellings in [
        &[
            "https://example.com/",
            "https://example.com",
            "HTTPS://EXAMPLE.COM",
            "https://example.com:443/",
            " https://example.com/ ",
            "https://example.com/a/..",
        ][..],
        &[
            "http://example.com/a%20b",
            "http://example.com:80/a b",
            "http://EXAMPLE.com/./a b",
        ],
        &[
            "https://bücher.example/",
            "https://xn--bcher-kva.example/",
            "https://BÜCHER.example",
        ],
        &["http://[2001:db8::1]/", "http://[2001:DB8:0:0:0:0:0:1]:80/"],
        &["http://192.0.2.1/", "http://0xC0000201/"],
    ] {
        let mut codes = HashSet::new();
        for spelling in spellings {
            codes.insert(client.shorten(spelling).await.code());
        }
        assert_eq!(codes.len(), 1, "{spellings:?} got {codes:?}");
    }
}

#[tokio::test]
async fn different_urls_get_different_codes() {
    let node = unlimited().start().await;
    let client = node.client();
    let urls = [
        "https://example.com/",
        "http://example.com/",
        "https://example.com:8443/",
        "https://www.example.com/",
        "https://example.com/a",
        "https://example.com/A",
        "https://example.com/a/",
        "https://example.com/a?",
        "https://example.com/a?b",
        "https://example.com/a#b",
        "https://example.com/%61",
    ];
    let mut codes = HashSet::new();
    for url in urls {
        let code = client.shorten(url).await.code();
        let location = client.get(&format!("/{code}")).await;
        assert_eq!(location.header("location"), Some(url));
        codes.insert(code);
    }
    assert_eq!(codes.len(), urls.len());
}

#[tokio::test]
async fn the_same_url_from_everywhere_at_once_gets_one_code() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let nodes = [builder.start().await, builder.start().await];
    let mut requests = JoinSet::new();
    for number in 0..40 {
        let client = nodes[number % 2].client_at([127, 0, 2, number as u8]);
        requests.spawn(async move { client.shorten("https://example.com/popular").await.code() });
    }
    let codes: HashSet<_> = requests.join_all().await.into_iter().collect();
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!(database.number("SELECT count(*) FROM urls").await, 1);
}

#[tokio::test]
async fn the_longest_url_is_followed_to_its_last_byte() {
    let node = unlimited().start().await;
    let client = node.client();
    let base = "https://example.com/?";
    let longest = format!("{base}{}z", "a".repeat(8192 - base.len() - 1));
    let code = client.shorten(&longest).await.code();
    let answer = client.get(&format!("/{code}")).await;
    assert_eq!(answer.header("location"), Some(&*longest));

    let answer = client.shorten(&format!("{longest}z")).await;
    assert_status(&answer, 422, "one byte more");
    // Each character has two bytes, which become six.
    let grows = format!("https://example.com/{}", "ü".repeat(1_400));
    assert_status(
        &client.shorten(&grows).await,
        422,
        "8,420 bytes once encoded",
    );
}

#[tokio::test]
async fn fields_that_a_form_leaves_empty_do_not_count() {
    let node = unlimited().start().await;
    let client = node.client();
    let plain = client.shorten("https://example.com/").await.code();
    let fields = [
        ("url", "https://example.com/"),
        ("alias", ""),
        ("expires_in", " "),
        ("max_visits", ""),
    ];
    let with_empty = send(post_form(&client, &fields)).await.code();
    assert_eq!(with_empty, plain);
}
