//! What is no password, in every place that takes one: a clear 4xx with the name of the field, and nothing stored.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{NodeBuilder, RawConnection};

use super::{
    Administrator, PASSWORD, TARGET, assert_asks, assert_tells_nothing, form, make, on_both,
};
use crate::api::exchange::{
    FORM, assert_page, assert_problem, assert_status, from_browser, send, unlimited,
};

on_both!(
    what_is_no_password_makes_and_changes_no_link,
    what_is_no_password_opens_no_link,
);

fn wrong() -> [(u16, Value); 9] {
    [
        (422, json!("é".repeat(129))),
        (422, json!("")),
        (422, json!("  ")),
        (422, json!("a\nb")),
        (422, json!("a\u{0}b")),
        (400, json!(1234)),
        (400, json!(true)),
        (400, json!(["a"])),
        (400, json!({})),
    ]
}

async fn what_is_no_password_makes_and_changes_no_link(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    make(&client, "cave", json!({})).await;
    for (status, password) in wrong() {
        let what = password.to_string();
        let body = json!({ "url": TARGET, "alias": "new", "password": password });
        let shorten = client.request(Method::POST, "/shorten").json(&body);
        let patch = json!({ "password": password });
        for answer in [
            send(shorten).await,
            admin.send(Method::POST, "links", body).await,
            admin.send(Method::PATCH, "links/cave", patch).await,
        ] {
            let error = assert_problem(&answer, status, &what);
            assert!(error.contains("`password`"), "{what}: {error}");
        }
        assert_problem(&client.get("/new").await, 404, &what);
    }
    assert_asks(&client.get("/cave").await, "nothing was changed");
    // A form has an empty field for what was left out.
    let fields = [("url", TARGET), ("alias", "new"), ("password", "")];
    let request = client.request(Method::POST, "/shorten").form(&fields);
    assert_eq!(send(request).await.code(), "new");
    assert_status(&client.get("/new").await, 302, "no password");
}

async fn what_is_no_password_opens_no_link(builder: NodeBuilder) {
    let node = builder.set("limiter.link_password", "1/hour").start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let post = || client.request(Method::POST, "/cave");
    for (status, password) in wrong() {
        let what = password.to_string();
        let answer = send(post().json(&json!({ "password": password }))).await;
        let error = assert_problem(&answer, status, &what);
        assert!(error.contains("`password`"), "{what}: {error}");
        assert_tells_nothing(&answer, &what);
    }
    for (status, request) in [
        (400, post().header("content-type", FORM).body("")),
        (
            400,
            post().form(&[("password", PASSWORD), ("password", PASSWORD)]),
        ),
        (400, post().form(&[("password", PASSWORD), ("next", "/")])),
        (400, post().json(&json!([PASSWORD]))),
        (
            415,
            post().header("content-type", "text/plain").body(PASSWORD),
        ),
        (415, post()),
        (413, form(&client, "/cave", &"x".repeat(40_000))),
    ] {
        let answer = send(request).await;
        assert_problem(&answer, status, &format!("{status}"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    // As `curl -d 'open sesame'` sends it.
    let bare = post().header("content-type", FORM).body(PASSWORD);
    let answer = send(bare).await;
    let error = assert_problem(&answer, 400, "without a name");
    assert!(error.contains("`password`"), "{error}");
    assert_tells_nothing(&answer, "without a name");
    // A browser has the form again.
    let long = "x".repeat(200);
    let page = send(from_browser(form(&client, "/cave", &long))).await;
    assert_page(&page, 422, "too long");
    assert!(page.body.contains("type=\"password\""), "{}", page.body);
    // None of these was an attempt.
    assert_status(&send(form(&client, "/cave", PASSWORD)).await, 303, "right");
}

/// The body never ends, or its client goes away in the middle: the next one is answered.
#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let node = unlimited()
        .set("http.request_timeout", "500ms")
        .start()
        .await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let head = "POST /cave HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\npassword=";
    for goes_away in [true, false] {
        let mut connection = RawConnection::open(node.address()).await;
        connection.send(head.as_bytes()).await;
        if goes_away {
            drop(connection);
            continue;
        }
        let answer = connection.receive(std::time::Duration::from_secs(15)).await;
        let answer = answer.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_status(
        &send(form(&client, "/cave", PASSWORD)).await,
        303,
        "the next",
    );
}
