//! Visits, onlookers, and links that no longer work.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use testkit::{Client, NodeBuilder, eventually};

use super::{
    Administrator, PASSWORD, assert_asks, assert_leads, cookie, form, make, on_both, with,
};
use crate::api::exchange::{assert_problem, assert_status, send};

on_both!(
    only_being_led_to_the_target_is_a_visit,
    onlookers_never_learn_the_target,
    a_link_that_no_longer_works_asks_for_no_password,
);

async fn only_being_led_to_the_target_is_a_visit(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    make(&client, "cave", json!({ "max_visits": 2 })).await;
    let mut last = String::new();
    for _ in 0..3 {
        assert_asks(&client.get("/cave").await, "being asked");
        assert_problem(&send(form(&client, "/cave", "wheat")).await, 403, "wrong");
        last = cookie(&client, "/cave").await;
    }
    for _ in 0..2 {
        assert_leads(&with(&client, "/cave", &last).await, "a visit");
    }
    // With and without the cookie.
    assert_problem(&with(&client, "/cave", &last).await, 410, "used up");
    assert_problem(&client.get("/cave").await, 410, "used up");
    // Of many at once, as many get there as visits are left.
    make(&client, "crowd", json!({ "max_visits": 5 })).await;
    let ticket = cookie(&client, "/crowd").await;
    let visits = (0..40).map(|_| with(&client, "/crowd", &ticket));
    let answers = futures_util::future::join_all(visits).await;
    let led = answers.iter().filter(|answer| answer.status == 302);
    assert_eq!(led.count(), 5);
}

/// As each kind of machine, with a cookie that is good.
fn looks(client: &Client, path: &str, cookie: &str) -> Vec<RequestBuilder> {
    let get = || {
        let request = client.request(Method::GET, path);
        request.header("cookie", cookie)
    };
    let head = client.request(Method::HEAD, path);
    vec![
        head.header("cookie", cookie),
        get().header("sec-purpose", "prefetch;prerender"),
        get().header("user-agent", "Twitterbot/1.0"),
    ]
}

async fn onlookers_never_learn_the_target(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    for (alias, fields) in [
        ("cave", json!({ "redirect": 308 })),
        ("once", json!({ "max_visits": 1 })),
    ] {
        make(&client, alias, fields).await;
        let path = format!("/{alias}");
        let cookie = cookie(&client, &path).await;
        for request in looks(&client, &path, &cookie) {
            assert_asks(&send(request).await, &path);
        }
        let answer = with(&client, &path, &cookie).await;
        assert!(answer.header("location").is_some(), "{answer:?}");
    }
}

async fn a_link_that_no_longer_works_asks_for_no_password(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let over = "https://example.com/over";
    let admin = Administrator::of(&node, &builder);
    make(&client, "ends", json!({})).await;
    let falls = json!({ "expires_in": 1, "fallback_url": over });
    make(&client, "falls", falls).await;
    make(&client, "down", json!({ "enabled": false })).await;
    make(
        &client,
        "early",
        json!({ "starts_at": "2035-01-01T00:00:00Z" }),
    )
    .await;
    assert_problem(&client.get("/down").await, 410, "taken down");
    assert_problem(&client.get("/early").await, 404, "not started");
    // However long that takes, the link does not end before.
    let ticket = cookie(&client, "/ends").await;
    admin.change("ends", json!({ "expires_in": 1 })).await;
    eventually("the links end", async || {
        let answer = client.get("/ends").await;
        let fallen = client.get("/falls").await;
        (answer.status == 410 && fallen.status == 302).then_some(())
    })
    .await;
    assert_problem(&with(&client, "/ends", &ticket).await, 410, "with a cookie");
    let answer = client.get("/falls").await;
    assert_eq!(answer.header("location"), Some(over));
    for path in ["/ends", "/falls", "/down", "/early"] {
        let answer = send(form(&client, path, PASSWORD)).await;
        assert_status(&answer, 405, path);
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
}
