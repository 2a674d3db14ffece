//! Codes are matched kindly: other spellings of the same path, and characters that chat programs add to a link.

use reqwest::{Method, Url};
use testkit::{Node, NodeBuilder};

use super::exchange::{exchange, from_browser, post_form, raw_status, send, unlimited};

const TARGET: &str = "https://example.com/launched";

/// HTTP clients normalise paths before they send them. This one is sent as it is.
async fn ask(node: &Node, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    exchange(node.address(), request.as_bytes()).await
}

fn location(answer: &str) -> Option<&str> {
    let mut lines = answer.lines();
    lines.find_map(|line| line.strip_prefix("location: "))
}

async fn with_links(builder: NodeBuilder, links: &[(&str, &str)]) -> Node {
    let node = builder.start().await;
    for (alias, url) in links {
        let fields = [("url", *url), ("alias", *alias)];
        let made = send(post_form(&node.client(), &fields)).await;
        assert_eq!(made.code(), *alias);
    }
    node
}

async fn assert_leads(node: &Node, path: &str, target: &str) {
    for method in ["GET", "HEAD"] {
        let answer = ask(node, method, path).await;
        assert_eq!(raw_status(&answer), 302, "{method} {path}: {answer}");
        assert_eq!(location(&answer), Some(target), "{method} {path}");
    }
}

async fn assert_unknown(node: &Node, path: &str) {
    for method in ["GET", "HEAD"] {
        let answer = ask(node, method, path).await;
        assert_eq!(raw_status(&answer), 404, "{method} {path:.80}: {answer}");
        assert_eq!(location(&answer), None, "{method} {path:.80}");
    }
}

#[tokio::test]
async fn another_spelling_of_the_same_path_is_the_same_link() {
    let links = [("launch", TARGET), ("My-Alias_2", "https://example.org/")];
    let node = with_links(unlimited(), &links).await;
    for path in [
        "/launch",
        "/launch/",
        "/%6Caunch",
        "/%6caunch",
        "/%6C%61%75%6E%63%68",
        "/l%61unch/",
        "/launch?utm_source=x",
        "/launch/?utm_source=x",
        "/%6Caunch?a/b",
    ] {
        assert_leads(&node, path, TARGET).await;
    }
    for path in ["/My%2DAlias_2", "/My-Alias%5F2", "/My%2dAlias%5f%32/"] {
        assert_leads(&node, path, "https://example.org/").await;
    }
    // These are other paths by RFC 3986, and other names.
    for path in [
        "/launch//",
        "//launch",
        "//launch/",
        "/launch%2F",
        "/%2Flaunch",
        "/x/launch",
        "/%256Caunch",
        "/%256Caunch/",
        "/%25%36Caunch",
        "/%6",
        "/launch%",
        "/launch%6",
        "/launch%zz",
        "/Launch",
        "//",
        "/%2F%2F",
    ] {
        assert_unknown(&node, path).await;
    }
}

/// Characters behind a link in a sentence, which an autolinker may take to be part of it.
#[tokio::test]
async fn punctuation_and_white_space_behind_a_link_are_no_part_of_it() {
    let node = with_links(unlimited(), &[("launch", TARGET)]).await;
    for glued in [
        ".",
        ",",
        ";",
        ":",
        "!",
        ")",
        "]",
        "}",
        "'",
        "\"",
        "*",
        "**",
        "_",
        "__",
        "~",
        "~~",
        ".)",
        ").",
        "...",
        "!!!",
        "),",
        "_.",
        "._",
        ".*",
        "\")",
        "/.",
        "/./",
        "/)",
        "/),",
        "./",
        // The same, encoded.
        "%2E",
        "%2e",
        "%29",
        "%2C",
        "%3F",
        "%3f",
        "%21",
        "%5D",
        "%7D",
        "%22",
        "%27",
        "%3E",
        "%60",
        "%5F",
        "%2A%2A",
        "%29%2E",
        "%29.",
        // White space.
        "%20",
        "%09",
        "%0A",
        "%0D%0A",
        "%C2%A0",
        "%20%20",
        "%E2%80%8B",
        "%EF%BB%BF",
        ".%20",
        // Quotation marks, dashes, an ellipsis, and the ends of sentences in other scripts.
        "%E2%80%9D",
        "%E2%80%99",
        "%E2%80%9C",
        "%C2%BB",
        "%E2%80%A6",
        "%E2%80%94",
        "%E2%80%93",
        "%E3%80%82",
        "%EF%BC%8C",
        "%EF%BC%89",
        "%E3%80%8D",
        "%D8%8C",
        "%E0%A5%A4",
        "%E2%80%9D.",
        "?",
        "?).",
    ] {
        assert_leads(&node, &format!("/launch{glued}"), TARGET).await;
        assert_unknown(&node, &format!("/lunch{glued}")).await;
    }
    let long = format!("/launch{}", "!".repeat(5_000));
    for path in [
        "/launch.html",
        "/launch.ico",
        "/launch,more",
        "/launch%20more",
        "/launch-",
        "/launch-.",
        "/launch&utm_source=x",
        "/launch=",
        "/launch%2Fx",
        "/launch/x.",
        "/launch/..",
        "/launch/../",
        "/launch%%32E",
        "/.launch",
        "/(launch)",
        "/%20launch",
        "/launch%00",
        "/launch%FF",
        "/launch%E2%80",
        "/launch%C3%A9",
        "/launch%252E",
        "/.",
        "/..",
        "/...",
        "/)",
        "/_",
        "/%20",
        "/./",
        &long,
    ] {
        assert_unknown(&node, path).await;
    }
}

#[tokio::test]
async fn where_a_link_has_the_longer_name_that_one_is_meant() {
    let links = [
        ("launch", TARGET),
        ("launch_", "https://example.com/longer"),
        ("pad__", "https://example.com/padded"),
    ];
    let node = with_links(unlimited(), &links).await;
    assert_leads(&node, "/launch", TARGET).await;
    for path in ["/launch_", "/launch_.", "/launch%5F", "/launch_/"] {
        assert_leads(&node, path, "https://example.com/longer").await;
    }
    assert_leads(&node, "/launch__", TARGET).await;
    assert_leads(&node, "/pad__", "https://example.com/padded").await;
    assert_unknown(&node, "/pad").await;

    // A link that is gone does not become another one.
    let fields = [("url", TARGET), ("alias", "spent_"), ("max_visits", "1")];
    let client = node.client();
    send(post_form(&client, &fields)).await.code();
    let fields = [("url", TARGET), ("alias", "spent")];
    send(post_form(&client, &fields)).await.code();
    assert_eq!(raw_status(&ask(&node, "GET", "/spent_").await), 302);
    assert_eq!(raw_status(&ask(&node, "GET", "/spent_").await), 410);
}

#[tokio::test]
async fn a_visit_by_another_spelling_is_a_visit_and_counts_once() {
    for capacity in ["100", "0"] {
        let node = unlimited().set("cache.capacity", capacity).start().await;
        let fields = [("url", TARGET), ("alias", "three"), ("max_visits", "3")];
        send(post_form(&node.client(), &fields)).await.code();
        for (path, status) in [
            ("/three_", 302),
            ("/%74hree/", 302),
            ("/three).", 302),
            ("/three.", 410),
            ("/three", 410),
        ] {
            let answer = ask(&node, "GET", path).await;
            assert_eq!(raw_status(&answer), status, "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn no_spelling_costs_more_than_two_look_ups() {
    let node = with_links(unlimited(), &[("launch", TARGET)]).await;
    let looked_up = async || node.metric("shunt_cache_lookups_total", &[]).await;
    for (path, expected) in [
        ("/launch", 1.0),
        ("/launch.", 1.0),
        ("/%6Caunch/", 1.0),
        ("/launch_", 2.0),
        ("/unknown", 1.0),
        ("/unknown_", 2.0),
        ("/unknown________", 2.0),
        ("/unknown_._._", 2.0),
        ("/unknown.html", 0.0),
        ("/_", 1.0),
    ] {
        let before = looked_up().await;
        ask(&node, "GET", path).await;
        assert_eq!(looked_up().await - before, expected, "{path}");
    }
}

#[tokio::test]
async fn policies_metrics_and_logs_know_other_spellings_as_the_same_route() {
    let builder = unlimited()
        .set("log.level", "info,shunt::http=debug")
        .set("limiter.policies.on-shorten.quota", "1000/minute")
        .set("limiter.policies.on-shorten.routes", "shorten")
        .set("limiter.policies.on-follow.quota", "1000/minute")
        .set("limiter.policies.on-follow.routes", "follow");
    let node = with_links(builder, &[("launch", TARGET)]).await;
    for (method, path, route) in [
        ("POST", "/shorten", "shorten"),
        ("POST", "/shorten/", "shorten"),
        ("POST", "/%73horten", "shorten"),
        ("POST", "/%73%68%6F%72%74%65%6E/", "shorten"),
        ("GET", "/launch/", "follow"),
        ("GET", "/%6Caunch", "follow"),
        ("GET", "/launch).", "follow"),
        ("GET", "/launch/).", "follow"),
    ] {
        let label = format!("route=\"{route}\"");
        let counted = async || node.metric("shunt_http_requests_total", &[&label]).await;
        let before = counted().await;
        let body = format!("url={TARGET}");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(node.address(), request.as_bytes()).await;
        let status = if route == "shorten" { 200 } else { 302 };
        assert_eq!(raw_status(&answer), status, "{method} {path}: {answer}");
        let policy = format!("ratelimit-policy: \"on-{route}\"");
        assert!(answer.contains(&policy), "{method} {path}: {answer}");
        assert_eq!(counted().await, before + 1.0, "{method} {path}");
        let line = testkit::eventually("the access line", async || {
            let lines = node.log_lines(&format!("\"path\":\"{path}\""));
            lines.into_iter().next()
        })
        .await;
        assert!(line.contains(&format!("\"route\":\"{route}\"")), "{line}");
    }
}

/// The address of a form is relative to its page.
#[tokio::test]
async fn the_form_works_on_pages_at_other_spellings() {
    let node = unlimited().start().await;
    let client = node.client();
    let get = |path: &str| from_browser(client.request(Method::GET, path));
    let post = |path: &str| {
        let request = client.request(Method::POST, path);
        from_browser(request.form(&[("url", "https://example.com/")]))
    };
    let wrong = |path: &str| {
        let request = client.request(Method::POST, path);
        from_browser(request.form(&[("url", "no URL")]))
    };
    for (request, path, status) in [
        (get("/Unknown/"), "/Unknown/", 404),
        (get("/Unknown)"), "/Unknown)", 404),
        (get("/shorten/"), "/shorten/", 405),
        (post("/shorten/"), "/shorten/", 200),
        (wrong("/shorten/"), "/shorten/", 422),
        (post("/%73horten"), "/%73horten", 200),
    ] {
        let page = send(request).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
        let action = page.body.split("action=\"").nth(1).expect(path);
        let action = action.split('"').next().unwrap();
        for base in ["https://sho.rt", "https://example.com/s"] {
            let page = Url::parse(&format!("{base}{path}")).unwrap();
            let sent_to = page.join(action).unwrap();
            assert_eq!(sent_to.as_str(), format!("{base}/shorten"), "{page}");
        }
    }
}
