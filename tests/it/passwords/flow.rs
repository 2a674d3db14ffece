//! From the page that asks to the target, and what the cookie is good for.

use reqwest::Method;
use serde_json::json;
use testkit::NodeBuilder;

use super::{
    Administrator, PASSWORD, TARGET, assert_asks, assert_leads, cookie, form, make, on_both, with,
};
use crate::api::exchange::{
    assert_page, assert_problem, assert_status, from_browser, send, unlimited,
};

on_both!(
    a_browser_is_asked_and_then_led_to_the_target,
    a_program_is_told_how_to_send_the_password,
    a_cookie_opens_one_link_by_one_code,
    a_changed_password_ends_all_cookies,
    a_password_is_set_and_removed_by_the_api,
    no_other_link_takes_a_password,
);

async fn a_browser_is_asked_and_then_led_to_the_target(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    make(
        &client,
        "cave",
        json!({ "redirect": 301, "title": "Jewels" }),
    )
    .await;
    let page = send(from_browser(client.request(Method::GET, "/cave"))).await;
    assert_page(&page, 401, "the page");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-robots-tag"), Some("noindex"));
    // Otherwise its own form would have the origin `null`.
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    // It would apply to the redirect to the target, too.
    assert!(!policy.contains("form-action"), "{policy}");
    for part in [
        "<form method=\"post\">",
        "type=\"password\"",
        "name=\"password\"",
        "autocomplete=\"current-password\"",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    for part in ["<script", "role=\"alert\"", "Jewels", "treasure"] {
        assert!(!page.body.contains(part), "{part}: {}", page.body);
    }
    // Browsers show the page and no window of their own, because they do not know the scheme.
    let challenge = page.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Form "), "{challenge}");

    let wrong = send(from_browser(form(&client, "/cave", "open wheat"))).await;
    assert_page(&wrong, 403, "a wrong password");
    assert!(wrong.body.contains("role=\"alert\""), "{}", wrong.body);
    assert!(wrong.body.contains("type=\"password\""), "{}", wrong.body);
    assert_eq!(wrong.header("set-cookie"), None);
    assert!(!wrong.body.contains("wheat"), "{}", wrong.body);

    let right = send(from_browser(form(&client, "/cave", PASSWORD))).await;
    assert_status(&right, 303, "the right password");
    assert_eq!(right.header("location"), Some("cave"));
    assert_eq!(right.header("cache-control"), Some("no-store"));
    let set = right.header("set-cookie").expect("a cookie");
    let (value, attributes) = set.split_once("; ").expect("attributes");
    assert_eq!(
        attributes,
        "Path=/cave; Max-Age=3600; HttpOnly; SameSite=Lax"
    );
    for _ in 0..2 {
        let answer = with(&client, "/cave", &format!("a=b; {value}; c")).await;
        assert_status(&answer, 301, "with the cookie");
        assert_eq!(answer.header("location"), Some(TARGET));
        // Nothing remembers where a link with a password leads.
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_asks(&client.get("/cave").await, "without the cookie");
    }
    for other in [
        "shunt_link=",
        "shunt_link",
        "shunt_link=1.2",
        "shunt_link=x.y",
    ] {
        assert_asks(&with(&client, "/cave", other).await, other);
    }
}

async fn a_program_is_told_how_to_send_the_password(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let answer = client.get("/cave").await;
    let error = assert_problem(&answer, 401, "a program");
    assert!(
        error.contains("POST") && error.contains("`password`"),
        "{error}"
    );
    assert_asks(&answer, "a program");
    let wrong = send(form(&client, "/cave", "open wheat")).await;
    assert_problem(&wrong, 403, "a wrong password");
    let body = json!({ "password": format!(" {PASSWORD} ") });
    let right = send(client.request(Method::POST, "/cave").json(&body)).await;
    assert_status(&right, 303, "JSON, with white space");
    // A query goes along, for links that forward it.
    let right = send(form(&client, "/cave?a=%20b&c", PASSWORD)).await;
    assert_eq!(right.header("location"), Some("cave?a=%20b&c"));
    assert_leads(
        &with(&client, "/cave?a", &cookie(&client, "/cave").await).await,
        "",
    );
}

async fn a_cookie_opens_one_link_by_one_code(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    make(&client, "cave", json!({})).await;
    make(&client, "other", json!({})).await;
    let further = json!({ "code": "grotto" });
    let answer = admin.send(Method::POST, "links/cave/codes", further).await;
    assert_status(&answer, 200, "a further code");
    let codes = ["cave", "other", "grotto"];
    let mut cookies = Vec::new();
    for code in codes {
        cookies.push(cookie(&client, &format!("/{code}")).await);
    }
    for (own, cookie) in codes.iter().zip(&cookies) {
        for code in codes {
            let answer = with(&client, &format!("/{code}"), cookie).await;
            match code == *own {
                true => assert_leads(&answer, code),
                false => assert_asks(&answer, &format!("{code} with that of {own}")),
            }
        }
    }
    // As a browser sends them that somebody has given others.
    let all = cookies.join("; ");
    assert_leads(&with(&client, "/other", &all).await, "among others");
}

async fn a_changed_password_ends_all_cookies(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    make(&client, "cave", json!({})).await;
    let first = cookie(&client, "/cave").await;
    // The same password again is another secret.
    admin.change("cave", json!({ "password": PASSWORD })).await;
    assert_asks(
        &with(&client, "/cave", &first).await,
        "the password was set",
    );
    let second = cookie(&client, "/cave").await;
    assert_leads(&with(&client, "/cave", &second).await, "a new cookie");
    admin.change("cave", json!({ "password": "other" })).await;
    assert_asks(&with(&client, "/cave", &second).await, "it was changed");
    assert_problem(
        &send(form(&client, "/cave", PASSWORD)).await,
        403,
        "the old one",
    );
    // Another change leaves cookies alone.
    assert_status(
        &send(form(&client, "/cave", "other")).await,
        303,
        "the new one",
    );
    admin.change("cave", json!({ "password": PASSWORD })).await;
    let third = cookie(&client, "/cave").await;
    admin.change("cave", json!({ "title": "A title" })).await;
    assert_leads(&with(&client, "/cave", &third).await, "another change");
}

async fn a_password_is_set_and_removed_by_the_api(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    let body = json!({ "url": TARGET, "alias": "cave", "password": PASSWORD });
    let made = admin.send(Method::POST, "links", body).await;
    assert_status(&made, 201, "made");
    assert_eq!(made.json()["has_password"], true);
    assert_eq!(made.json().get("password"), None);
    assert_asks(&client.get("/cave").await, "made with a password");
    let tag = made.header("etag").expect("a tag").to_owned();
    let removed = admin.change("cave", json!({ "password": null })).await;
    assert_eq!(removed.json()["has_password"], false);
    let answer = client.get("/cave").await;
    assert_status(&answer, 302, "without a password");
    assert_eq!(answer.header("cache-control"), None);
    let set = admin.change("cave", json!({ "password": "one" })).await;
    assert_asks(&client.get("/cave").await, "set again");
    let changed = admin.change("cave", json!({ "password": "two" })).await;
    let tags = [&removed, &set, &changed].map(|answer| answer.header("etag"));
    assert!(!tags.contains(&Some(&*tag)), "{tags:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    // A link with a password is a link of its own.
    let shared = client.shorten(TARGET).await.code();
    let body = json!({ "url": TARGET, "password": "one" });
    let request = client.request(Method::POST, "/shorten").json(&body);
    assert_ne!(send(request).await.code(), shared);
    assert_eq!(client.shorten(TARGET).await.code(), shared);
}

async fn no_other_link_takes_a_password(builder: NodeBuilder) {
    let node = builder.start().await;
    let client = node.client();
    let code = client.shorten(TARGET).await.code();
    for path in [&*format!("/{code}"), "/unknown", "/unknown_", "/%2F", "/"] {
        let answer = send(form(&client, path, PASSWORD)).await;
        assert_problem(&answer, 405, path);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{path}");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
    for method in [Method::PUT, Method::DELETE] {
        make(&client, &format!("cave-{method}"), json!({})).await;
        let path = format!("/cave-{method}");
        let answer = send(client.request(method, &path)).await;
        assert_problem(&answer, 405, &path);
    }
}

/// A browser does not send back what it was given.
#[tokio::test]
async fn a_visitor_without_cookies_is_told_so() {
    let node = unlimited().start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let ticket = cookie(&client, "/cave").await;
    let sentence = "your browser did not send the cookie back";
    for (site, cookie, is_told) in [
        ("same-origin", None, true),
        ("same-origin", Some("other=1"), true),
        ("same-origin", Some("shunt_link=1.2"), false),
        ("none", None, false),
        ("cross-site", None, false),
    ] {
        let mut request = client.request(Method::GET, "/cave");
        request = request.header("sec-fetch-site", site);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let page = send(from_browser(request)).await;
        assert_page(&page, 401, site);
        assert_eq!(page.body.contains(sentence), is_told, "{site} {cookie:?}");
    }
    let request = client.request(Method::GET, "/cave");
    let request = request.header("sec-fetch-site", "same-origin");
    let answer = send(from_browser(request.header("cookie", ticket))).await;
    assert_leads(&answer, "with the cookie");
}

#[tokio::test]
async fn every_spelling_of_a_link_leads_back_to_its_own_path() {
    let node = unlimited().start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    for (path, location) in [
        ("/cave", "cave"),
        ("/cave/", "../cave"),
        ("/%63ave", "cave"),
        ("/cave_", "cave"),
        ("/cave).", "cave"),
        ("/cave/).?a", "../cave?a"),
    ] {
        assert_asks(&client.get(path).await, path);
        let answer = send(form(&client, path, PASSWORD)).await;
        assert_status(&answer, 303, path);
        assert_eq!(answer.header("location"), Some(location), "{path}");
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("; Path=/cave; "), "{cookie}");
    }
}

#[tokio::test]
async fn with_tls_and_under_a_path_the_cookie_says_so() {
    let forwards = |request: reqwest::RequestBuilder| request.header("x-forwarded-proto", "https");
    let proxied = unlimited().set("http.trusted_proxies", "127.0.0.1");
    let node = proxied.start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    for (request, secure) in [
        (form(&client, "/cave", PASSWORD), false),
        (forwards(form(&client, "/cave", PASSWORD)), true),
    ] {
        let answer = send(request).await;
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
    }
    let public = unlimited().set("http.public_url", "https://sho.rt/s/");
    let node = public.start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    // By the public name TLS ends before this node. By another, there may be none, and no path either.
    for (host, path, secure) in [("sho.rt", "/s/cave", true), ("127.0.0.1", "/cave", false)] {
        let request = form(&client, "/cave", PASSWORD).header("host", host);
        let answer = send(request).await;
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.contains(&format!("; Path={path}; ")), "{cookie}");
        assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
    }
}
