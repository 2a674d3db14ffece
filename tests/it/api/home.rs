//! The page at `/`, and the pages that browsers get in place of JSON.

use reqwest::{Method, Url};
use testkit::Node;

use super::exchange::{
    FORM, assert_page, assert_status, from_browser, post, post_form, send, unlimited,
};

#[tokio::test]
async fn a_script_gets_one_line_of_text() {
    let node = Node::embedded().await;
    let client = node.client();
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("text/plain"),
    ] {
        let mut request = client.request(Method::GET, "/");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = send(request).await;
        assert_status(&answer, 200, "GET /");
        assert_eq!(answer.body, "URL Shortener is running!\n", "{accept:?}");
        let content_type = answer.header("content-type").unwrap();
        assert!(
            content_type.starts_with("text/plain"),
            "{accept:?}: {content_type}"
        );
    }
    let answer = send(client.request(Method::HEAD, "/")).await;
    assert_status(&answer, 200, "HEAD /");
    assert_eq!(answer.body, "");
}

#[tokio::test]
async fn a_browser_gets_a_form_that_works_without_javascript() {
    let node = Node::embedded().await;
    let answer = send(from_browser(node.client().request(Method::GET, "/"))).await;
    assert_page(&answer, 200, "GET /");
    let form = answer.body.split("<form").nth(1).expect("a form");
    let form = form.split("</form>").next().unwrap();
    for part in ["method=\"post\"", "name=\"url\"", "type=\"submit\""] {
        assert!(form.contains(part), "no {part}: {form}");
    }
    let page = answer.body.to_lowercase();
    for script in ["<script", "javascript:", " onclick", " onsubmit", " onload"] {
        assert!(!page.contains(script), "{script}: {page}");
    }
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("script-src"), "{policy}");
}

/// This includes a proxy that serves the node under a path of its own.
#[tokio::test]
async fn every_form_is_sent_to_shorten_whatever_page_it_is_on() {
    let node = unlimited().start().await;
    for (path, has_form) in [
        ("/", true),
        ("/shorten", true),
        ("/Ab3xY9", true),
        ("/a/b", false),
    ] {
        let page = send(from_browser(node.client().request(Method::GET, path))).await;
        let action = page.body.split("action=\"").nth(1);
        let action = action.and_then(|rest| rest.split('"').next());
        assert_eq!(action.is_some(), has_form, "{path}: {page:?}");
        for base in ["https://sho.rt", "https://example.com/s"] {
            let page = Url::parse(&format!("{base}{path}")).unwrap();
            if let Some(action) = action {
                let sent_to = page.join(action).unwrap();
                assert_eq!(sent_to.as_str(), format!("{base}/shorten"), "{page}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_browser_posts_comes_back_as_a_link_that_works() {
    let node = Node::builder()
        .set("http.public_url", "https://sho.rt")
        .start()
        .await;
    let client = node.client();
    let target = "https://example.com/path?a=1&b=2";
    let answer = send(from_browser(post_form(&client, &[("url", target)]))).await;
    assert_page(&answer, 200, target);
    let link = answer.body.split("<a href=\"").nth(1).expect("a link");
    let href = link.split('"').next().unwrap();
    let shown = link.split(['>', '<']).nth(1).unwrap();
    assert_eq!(shown, href);
    let path = href.strip_prefix("https://sho.rt").expect(href);
    let shown_target = "https://example.com/path?a=1&b=2";
    assert!(
        unescaped(&answer.body).contains(shown_target),
        "{}",
        answer.body
    );
    assert!(
        !answer.body.contains(shown_target),
        "a bare & in HTML: {}",
        answer.body
    );

    let followed = client.get(path).await;
    assert_eq!(followed.header("location"), Some(target));
}

#[tokio::test]
async fn what_was_typed_comes_back_with_the_error_and_escaped() {
    let node = unlimited().start().await;
    let client = node.client();
    for typed in [
        "\"><script>alert(1)</script>",
        "'><img src=x onerror=alert(1)>",
        "javascript:alert(\"x\")",
        "</form><form action=//evil.example>",
        "a&amp;b&lt;script&gt;",
        "example.com",
    ] {
        let answer = send(from_browser(post_form(&client, &[("url", typed)]))).await;
        assert_page(&answer, 422, typed);
        assert!(
            answer.body.contains("role=\"alert\""),
            "{typed}: {answer:?}"
        );
        let value = answer.body.split(" value=\"").nth(1).expect("a value");
        let value = value.split('"').next().unwrap();
        assert_eq!(unescaped(value), typed, "{value}");
        assert!(!value.contains(['<', '>', '\'']), "{value}");
        assert_no_markup(&answer.body, typed);
    }
}

#[tokio::test]
async fn neither_targets_nor_field_names_can_add_markup() {
    let node = unlimited().start().await;
    let client = node.client();
    let target = "https://example.com/'\"><script>alert(1)</script>?\"><script>#\"><script>";
    let answer = send(from_browser(post_form(&client, &[("url", target)]))).await;
    assert_page(&answer, 200, target);
    assert_no_markup(&answer.body, target);

    let body = "url=https://example.com/&%22%3E%3Cscript%3E=1";
    let answer = send(from_browser(post(&client, FORM, body))).await;
    assert_page(&answer, 400, body);
    assert_no_markup(&answer.body, body);
}

fn assert_no_markup(page: &str, what: &str) {
    let forms = page.matches("<form").count();
    assert_eq!(forms, 1, "{what}: {page}");
    for markup in ["<script", "<img"] {
        assert!(!page.contains(markup), "{what}: {page}");
    }
}

/// The text, with character references replaced as a browser does it.
fn unescaped(html: &str) -> String {
    let mut parts = html.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (reference, rest) = part.split_once(';').unwrap_or(("", part));
        text += match reference {
            "#34" | "quot" => "\"",
            "#38" | "amp" => "&",
            "#39" | "#x27" => "'",
            "#60" | "lt" => "<",
            "#62" | "gt" => ">",
            _ => panic!("&{part} in {html}"),
        };
        text += rest;
    }
    text
}
