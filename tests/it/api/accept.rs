//! Which clients get a page and which get JSON, and what answers say to caches about it.

use reqwest::{Method, RequestBuilder};
use testkit::{Answer, Client};

use super::exchange::{FORM, assert_status, from_browser, post, post_form, send, unlimited};

const FIREFOX: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
     application/signed-exchange;v=b3;q=0.7";

fn is_page(answer: &Answer) -> bool {
    let content_type = answer.header("content-type").unwrap_or_default();
    content_type.starts_with("text/html")
}

/// Requests whose answer is different for a browser: the home page, a new link, an error.
fn requests(client: &Client) -> [RequestBuilder; 3] {
    [
        client.request(Method::GET, "/"),
        post_form(client, &[("url", "https://example.com/")]),
        client.request(Method::GET, "/Ab3xY9"),
    ]
}

#[tokio::test]
async fn a_page_is_for_clients_that_like_html_no_less_than_json() {
    let node = unlimited().start().await;
    let client = node.client();
    for (accept, expected) in [
        (&[FIREFOX][..], true),
        (&[CHROME], true),
        (&["text/html"], true),
        (&["TEXT/HTML"], true),
        (&["text/html;charset=utf-8"], true),
        (&["text/html;level=1;q=0.4, */*;q=0.1"], true),
        (&["text/html;q=0.001"], true),
        (&["text/html, application/json"], true),
        (&["application/json;q=0.9, text/html"], true),
        (&["application/json;q=0, text/html;q=0.1"], true),
        (&["application/json;q=0.5", "text/html;q=0.6"], true),
        (&["text/html;q=0, application/json"], false),
        (&["text/html;q=0"], false),
        (&["text/html; Q=0.000, */*"], false),
        (&["application/json, text/html;q=0.9"], false),
        (&["application/json", "text/html;q=0.9"], false),
        (&["application/problem+json, text/html;q=0.8"], false),
        (&["application/json, text/plain, */*"], false),
        (&["*/*"], false),
        (&["text/*"], false),
        (&["application/xhtml+xml"], false),
        (&["text/html;q=x, application/json"], false),
        (&["text/htmlx"], false),
        (&["x-text/html"], false),
        (&[""], false),
        (&[], false),
    ] {
        for request in requests(&client) {
            let request = accept
                .iter()
                .fold(request, |request, line| request.header("accept", *line));
            let answer = send(request).await;
            assert_eq!(is_page(&answer), expected, "{accept:?}: {answer:?}");
        }
    }
}

/// Without this a cache could give a browser the answer for a script.
#[tokio::test]
async fn every_answer_that_depends_on_accept_says_so() {
    let node = unlimited().start().await;
    let client = node.client();
    let fields = [("url", "https://example.com/"), ("alias", "taken")];
    send(post_form(&client, &fields)).await.code();
    let once = "url=https://example.com/&alias=once&max_visits=1";
    send(post(&client, FORM, once)).await.code();
    assert_status(&client.get("/once").await, 302, "the only visit");

    type Request = fn(&Client) -> RequestBuilder;
    let requests: [(Request, u16); 11] = [
        (|c| c.request(Method::GET, "/"), 200),
        (|c| c.request(Method::HEAD, "/"), 200),
        (|c| post_form(c, &[("url", "https://example.com/")]), 200),
        (|c| post_form(c, &[("url", "example.com")]), 422),
        (|c| post_form(c, &[]), 400),
        (|c| post(c, "text/plain", "x"), 415),
        (
            |c| post_form(c, &[("url", "https://example.com/"), ("alias", "taken")]),
            409,
        ),
        (|c| c.request(Method::GET, "/Ab3xY9"), 404),
        (|c| c.request(Method::GET, "/a/b/c"), 404),
        (|c| c.request(Method::GET, "/once"), 410),
        (|c| c.request(Method::DELETE, "/shorten"), 405),
    ];
    for (request, status) in requests {
        for request in [request(&client), from_browser(request(&client))] {
            let answer = send(request).await;
            assert_status(&answer, status, "as ever");
            assert_eq!(answer.header("vary"), Some("Accept"), "{answer:?}");
        }
    }
    // A redirect does not depend on `Accept`.
    let answer = send(from_browser(client.request(Method::GET, "/taken"))).await;
    assert_status(&answer, 302, "a redirect");
    assert_eq!(answer.header("vary"), None);
}

#[tokio::test]
async fn a_refusal_for_the_limit_says_so() {
    let node = testkit::Node::builder()
        .set("limiter.quota", "1/minute")
        .start()
        .await;
    let client = node.client();
    assert_status(&client.get("/").await, 200, "the first");
    for request in [
        client.request(Method::GET, "/"),
        from_browser(client.request(Method::GET, "/")),
    ] {
        let answer = send(request).await;
        assert_status(&answer, 429, "the second");
        assert_eq!(answer.header("vary"), Some("Accept"), "{answer:?}");
    }
}
