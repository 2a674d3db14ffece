//! Forms that come from elsewhere, or too late.

use reqwest::Method;
use serde_json::json;
use testkit::{NodeBuilder, eventually};

use super::{Administrator, PASSWORD, form, make, on_both};
use crate::api::exchange::{
    assert_page, assert_problem, assert_status, from_browser, send, unlimited,
};

on_both!(a_browser_is_told_what_became_of_the_link_while_the_page_was_open);

async fn a_browser_is_told_what_became_of_the_link_while_the_page_was_open(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    for alias in ["opened", "down", "ended", "fallen"] {
        make(&client, alias, json!({})).await;
    }
    make(
        &client,
        "early",
        json!({ "starts_at": "2035-01-01T00:00:00Z" }),
    )
    .await;
    admin.change("opened", json!({ "password": null })).await;
    admin.change("down", json!({ "enabled": false })).await;
    admin.change("ended", json!({ "expires_in": 1 })).await;
    let over = json!({ "expires_in": 1, "fallback_url": "https://example.com/over" });
    admin.change("fallen", over).await;
    eventually("the links end", async || {
        let (ended, fallen) = (client.get("/ended").await, client.get("/fallen").await);
        (ended.status == 410 && fallen.status == 302).then_some(())
    })
    .await;
    for (path, status) in [
        ("/down", 410),
        ("/ended", 410),
        ("/early", 404),
        ("/unknown", 404),
        ("/unknown_", 404),
    ] {
        let page = send(from_browser(form(&client, path, PASSWORD))).await;
        assert_page(&page, status, path);
        assert!(!page.body.contains("<form"), "{path}: {}", page.body);
        assert_eq!(page.header("set-cookie"), None, "{path}");
        // A program hears that it is no method of this path.
        assert_problem(&send(form(&client, path, PASSWORD)).await, 405, path);
    }
    for path in ["/opened?a", "/fallen?a"] {
        let answer = send(from_browser(form(&client, path, PASSWORD))).await;
        assert_status(&answer, 303, path);
        assert_eq!(answer.header("location"), path.strip_prefix('/'));
        assert_eq!(answer.header("set-cookie"), None);
        let other = client.request(Method::POST, path).form(&[("a", "b")]);
        let page = send(from_browser(other)).await;
        assert_page(&page, 405, "another form");
        assert!(!page.body.contains("<form"), "{}", page.body);
    }
}

/// Another site's page must not use up the attempts of its visitors, or guess through them.
#[tokio::test]
async fn a_form_of_another_site_is_not_looked_at() {
    let node = unlimited()
        .set("limiter.link_password", "1/hour")
        .start()
        .await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    for password in [PASSWORD, "open wheat", PASSWORD] {
        let request = form(&client, "/cave", password).header("sec-fetch-site", "cross-site");
        let answer = send(from_browser(request)).await;
        assert_page(&answer, 401, "another site");
        assert!(answer.body.contains("another site"), "{}", answer.body);
        assert_eq!(answer.header("set-cookie"), None);
    }
    for (site, status) in [("same-origin", 303), ("none", 429)] {
        let request = form(&client, "/cave", PASSWORD).header("sec-fetch-site", site);
        assert_status(&send(request).await, status, site);
    }
}

/// As browsers do on plain HTTP, which do not say `Sec-Fetch-Site` there.
#[tokio::test]
async fn a_form_with_the_origin_of_another_site_is_not_looked_at() {
    let node = unlimited()
        .set("http.public_url", "https://sho.rt/s")
        .start()
        .await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let at = node.address();
    for (origin, status) in [
        ("null".to_owned(), 401),
        ("http://attacker.example".to_owned(), 401),
        (format!("http://{}:1", at.ip()), 401),
        ("nonsense".to_owned(), 401),
        (format!("http://{at}"), 303),
        // TLS ended at a proxy that does not say so, or that asked by another name.
        (format!("https://{at}"), 303),
        ("https://sho.rt".to_owned(), 303),
    ] {
        let request = form(&client, "/cave", PASSWORD).header("origin", &origin);
        let answer = send(from_browser(request)).await;
        assert_status(&answer, status, &origin);
        assert_eq!(
            answer.header("set-cookie").is_some(),
            status == 303,
            "{origin}"
        );
    }
    // What `Sec-Fetch-Site` says counts.
    let request = form(&client, "/cave", PASSWORD).header("origin", "null");
    let answer = send(request.header("sec-fetch-site", "same-origin")).await;
    assert_status(&answer, 303, "the same origin");
}
