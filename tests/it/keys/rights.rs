//! What a key allows, and what needs one.

use reqwest::Method;
use testkit::{Answer, Node, RawConnection};

use super::{create, create_for, get, home, keys, policy, shorten, unknown};
use crate::api::exchange::{
    assert_page, assert_problem, assert_status, from_browser, post_form, send, unlimited,
};

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").expect("a challenge")
}

#[tokio::test]
async fn where_links_are_not_anonymous_only_a_key_that_may_create_makes_them() {
    let builder = unlimited().set("links.anonymous", "false");
    let node = builder.start().await;
    let client = node.client();
    let answer = client.shorten("https://example.com/").await;
    let error = assert_problem(&answer, 401, "without a key");
    assert!(error.starts_with("This needs an API key"), "{error}");
    assert_eq!(challenge(&answer), "Bearer realm=\"shunt\"");
    assert!(policy(&answer).starts_with("\"default\""), "{answer:?}");
    // Before anything in the request is looked at.
    let answer = send(client.request(Method::POST, "/shorten")).await;
    assert_problem(&answer, 401, "an empty body");

    for scopes in ["create", "admin", "stats,create"] {
        let key = create_for(&builder, &scopes.replace(',', "-"), scopes, &[]);
        let answer = send(shorten(&client, &key)).await;
        assert_status(&answer, 200, scopes);
        // Anybody follows it.
        let followed = client.get(&format!("/{}", answer.code())).await;
        assert_status(&followed, 302, scopes);
    }
    for scopes in ["manage", "stats", "manage,stats"] {
        let key = create_for(&builder, &scopes.replace(',', "-"), scopes, &[]);
        let answer = send(shorten(&client, &key)).await;
        let error = assert_problem(&answer, 403, scopes);
        assert!(error.contains("the scope create"), "{error}");
        assert!(challenge(&answer).contains("error=\"insufficient_scope\""));
        assert!(challenge(&answer).contains("scope=\"create\""));
        assert!(policy(&answer).starts_with("\"per-key\""), "{answer:?}");
    }
    let answer = send(shorten(&client, &unknown())).await;
    let error = assert_problem(&answer, 401, "a bad key");
    assert_eq!(error, "That API key is not valid");
}

#[tokio::test]
async fn a_browser_is_told_in_words_and_keeps_its_page() {
    let node = unlimited().set("links.anonymous", "false").start().await;
    let client = node.client();
    let page = send(from_browser(client.request(Method::GET, "/"))).await;
    assert_status(&page, 200, "the page");
    assert!(page.body.contains("<form"), "{page:?}");
    let url = [("url", "https://example.com/")];
    let answer = send(from_browser(post_form(&client, &url))).await;
    assert_page(&answer, 401, "a form");
    assert!(answer.body.contains("This needs an API key"), "{answer:?}");
    assert!(answer.body.contains("Bearer &#60;key&#62;"), "{answer:?}");
    // No window that asks for a name and a password: browsers do not know the scheme.
    assert!(challenge(&answer).starts_with("Bearer "), "{answer:?}");
}

/// A missing right is never made up for by having none at all.
#[tokio::test]
async fn where_links_are_anonymous_a_key_without_the_scope_makes_none_either() {
    let builder = unlimited();
    let node = builder.start().await;
    let client = node.client();
    let key = create_for(&builder, "reports", "stats", &[]);
    let answer = send(shorten(&client, &key)).await;
    assert_problem(&answer, 403, "stats");
    let answer = client.shorten("https://example.com/").await;
    assert_status(&answer, 200, "no key");
    // To follow a link, a key needs no scope.
    let path = format!("/{}", answer.code());
    assert_status(&send(get(&client, &path, &key)).await, 302, "follow");
    assert_status(&home(&client, &key).await, 200, "home");
}

/// Who may not make links has a quota for trying like everybody.
#[tokio::test]
async fn requests_that_lack_a_key_are_limited_like_others() {
    let builder = Node::builder().set("links.anonymous", "false");
    let node = builder.start().await;
    let client = node.client();
    for _ in 0..10 {
        let answer = client.shorten("https://example.com/").await;
        assert_problem(&answer, 401, "no key");
    }
    let answer = client.shorten("https://example.com/").await;
    assert_problem(&answer, 429, "the eleventh");
    let key = create(&builder, "phone", &[]);
    assert_status(&send(shorten(&client, &key)).await, 200, "with a key");
}

#[tokio::test]
async fn a_connection_is_kept_after_a_request_that_lacks_a_right() {
    let builder = unlimited().set("links.anonymous", "false");
    let node = builder.start().await;
    let stats = create_for(&builder, "reports", "stats", &[]);
    let good = create(&builder, "phone", &[]);
    let body = format!("url=https://example.com/{}", "a".repeat(5_000));
    let post = |header: &str| {
        format!(
            "POST /shorten HTTP/1.1\r\nHost: a\r\n{header}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests = [
        post(""),
        post(&format!("X-Api-Key: {stats}\r\n")),
        post(&format!("X-Api-Key: {good}\r\n")),
    ];
    let mut connection = RawConnection::open(node.address()).await;
    let statuses = super::headers::statuses(&mut connection, &requests).await;
    assert_eq!(statuses, [401, 403, 200]);
    // A key that is made, listed and revoked by the command is the one that the node knows.
    assert!(keys(&builder, &["list"]).contains("reports"));
}
