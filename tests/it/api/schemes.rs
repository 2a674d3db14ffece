//! Targets that are not of the web, where `links.schemes` allows them.

use testkit::Node;

use super::exchange::{assert_page, assert_problem, from_browser, post_form, send, unlimited};

async fn node_with(schemes: &str) -> Node {
    unlimited().set("links.schemes", schemes).start().await
}

#[tokio::test]
async fn schemes_that_are_allowed_are_followed_as_they_were_written() {
    let node = node_with("http, https, mailto, tel, sms, MyApp").await;
    let client = node.client();
    for (url, target) in [
        ("https://example.com", "https://example.com/"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        (
            "MAILTO:a@example.com?subject=Two words&body=one%0D%0Atwo",
            "mailto:a@example.com?subject=Two%20words&body=one%0D%0Atwo",
        ),
        ("tel:+49-30-123456", "tel:+49-30-123456"),
        (" tel:+49 30 123456\n", "tel:+49%2030%20123456"),
        ("sms:+15551234?body=hi", "sms:+15551234?body=hi"),
        ("myapp:", "myapp:"),
        ("myapp://open/item?id=5#top", "myapp://open/item?id=5#top"),
        // An app decides on its own hosts and user names.
        ("myapp://user@host/x", "myapp://user@host/x"),
        ("myapp:///x", "myapp:///x"),
        (
            "mailto:bücher@example.com",
            "mailto:b%C3%BCcher@example.com",
        ),
        ("myapp:ü ä?ö#ß", "myapp:%C3%BC%20%C3%A4?%C3%B6#%C3%9F"),
        ("myapp:x ?y", "myapp:x%20?y"),
        ("myapp://höst/ü", "myapp://h%C3%B6st/%C3%BC"),
    ] {
        let answer = send(post_form(&client, &[("url", url)])).await;
        let code = answer.code();
        assert_eq!(answer.json()["original_url"], target, "{url}");
        let answer = client.get(&format!("/{code}")).await;
        assert_eq!(answer.header("location"), Some(target), "{url}");
    }
}

#[tokio::test]
async fn all_other_schemes_are_rejected_with_the_ones_that_are_not() {
    let node = node_with("https,mailto").await;
    let client = node.client();
    for url in [
        "http://example.com/",
        "tel:+4930123456",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "mailto2:a@example.com",
    ] {
        let answer = send(post_form(&client, &[("url", url)])).await;
        let error = assert_problem(&answer, 422, url);
        assert!(error.contains("https and mailto"), "{error}");
        assert_page(
            &send(from_browser(post_form(&client, &[("url", url)]))).await,
            422,
            url,
        );
    }
}

#[tokio::test]
async fn what_holds_for_every_target_holds_for_these() {
    let node = node_with("http,https,mailto,myapp").await;
    let client = node.client();
    let too_long = format!("mailto:{}", "a".repeat(8_192));
    let grows = format!("myapp:{}", " ".repeat(3_000) + "x");
    for url in [
        "mailto:a@example.com\r\nBcc: b@example.com",
        "mailto:a\0@example.com",
        "myapp://open/\tx",
        "mailto",
        "mailto@example.com",
        &too_long,
        &grows,
        // For the web, the same rules as always.
        "https://user@example.com/",
        "https:///x",
        "https:example.com",
    ] {
        let answer = send(post_form(&client, &[("url", url)])).await;
        assert_problem(&answer, 422, &url[..url.len().min(60)]);
    }
    // A name is the service's own only in a URL of the web.
    let own = format!("myapp://{}/x", node.address());
    send(post_form(&client, &[("url", &own)])).await.code();
    let own = format!("http://{}/x", node.address());
    assert_problem(&send(post_form(&client, &[("url", &own)])).await, 422, &own);
}
