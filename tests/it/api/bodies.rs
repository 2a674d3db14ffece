//! How bodies are read: codings, byte-order marks, white space at the ends, encoded characters.

use reqwest::Method;
use testkit::Client;

use super::exchange::{
    FORM, JSON, assert_page, assert_problem, assert_status, from_browser, post, post_form, send,
    unlimited,
};

/// Shortens a URL, follows the link, and returns the target.
async fn target_of(client: &Client, url: &str) -> String {
    let answer = send(post_form(client, &[("url", url)])).await;
    let code = answer.code();
    let answer = client.get(&format!("/{code}")).await;
    assert_status(&answer, 302, url);
    answer.header("location").expect("a target").to_owned()
}

/// `curl --data-urlencode url@-` sends the end of the line with the URL.
#[tokio::test]
async fn white_space_around_a_url_is_left_out() {
    let node = unlimited().start().await;
    let client = node.client();
    for around in [
        "", " ", "\n", "\r\n", "\t", " \r\n \t", "\u{a0}", "\u{3000}", "\u{2028}", "\u{feff}",
    ] {
        let url = format!("{around}https://example.com/a b{around}");
        let target = target_of(&client, &url).await;
        assert_eq!(target, "https://example.com/a%20b", "{around:?}");
    }
    for inside in ["\n", "\r\n", "\t", "\0", "\u{7f}", "\u{85}"] {
        let url = format!("https://example.com/a{inside}b");
        let answer = send(post_form(&client, &[("url", &url)])).await;
        assert_problem(&answer, 422, &url);
        let url = format!("https://exa{inside}mple.com/");
        let answer = send(post_form(&client, &[("url", &url)])).await;
        assert_problem(&answer, 422, &url);
    }
}

/// Share links of messengers contain encoded line breaks. Encoded, they cannot split a header.
#[tokio::test]
async fn percent_encoding_is_kept_byte_for_byte() {
    let node = unlimited().start().await;
    let client = node.client();
    for url in [
        "https://example.com/a%0Ab",
        "https://example.com/a%0ab%0D%0Ac",
        "https://example.com/?text=one%0Atwo%0D%0Athree",
        "https://example.com/?text=%0d%0aSet-Cookie:%20a=b",
        "https://example.com/#one%0Atwo",
        "https://example.com/%00?%00#%00",
        "https://example.com/%09%7F%C2%85%ff%FF",
        "https://example.com/%2e%2F%41%e2%82%ac",
        "https://example.com/%zz%",
    ] {
        // Dot segments are resolved, as browsers do it. This URL has none.
        assert_eq!(target_of(&client, url).await, url);
    }
    for url in [
        "https://exa%0Ample.com/",
        "https://example.com%0D%0A/",
        "https://exa%00mple.com/",
        "https%0A://example.com/",
    ] {
        let answer = send(post_form(&client, &[("url", url)])).await;
        assert_problem(&answer, 422, url);
    }
}

#[tokio::test]
async fn a_body_in_a_coding_is_rejected_with_the_one_that_is_read() {
    let node = unlimited().start().await;
    let client = node.client();
    for (content_type, body) in [
        (FORM, "url=https://example.com/"),
        (JSON, "{\"url\": \"https://example.com/\"}"),
    ] {
        for codings in [
            &["gzip"][..],
            &["GZIP"],
            &["deflate"],
            &["br"],
            &["zstd"],
            &["identity, gzip"],
            &["gzip, identity"],
            &["identity", "gzip"],
            &["gzip", "identity"],
            &["identity;q=1"],
            &["x"],
            &["\u{e9}"],
        ] {
            let request = || {
                codings
                    .iter()
                    .fold(post(&client, content_type, body), |request, line| {
                        request.header("content-encoding", *line)
                    })
            };
            let answer = send(request()).await;
            assert_problem(&answer, 415, &format!("{codings:?}"));
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
            let answer = send(from_browser(request())).await;
            assert_page(&answer, 415, &format!("{codings:?}"));
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
        }
        for coding in ["identity", "Identity", "identity, identity", ""] {
            let request = post(&client, content_type, body).header("content-encoding", coding);
            send(request).await.code();
        }
    }
}

#[tokio::test]
async fn two_content_types_are_none() {
    let node = unlimited().start().await;
    let request = node
        .client()
        .request(Method::POST, "/shorten")
        .header("content-type", FORM)
        .header("content-type", JSON)
        .body("url=https://example.com/");
    assert_problem(&send(request).await, 415, "which one holds?");
}

#[tokio::test]
async fn json_with_a_byte_order_mark_is_read() {
    let node = unlimited().start().await;
    let client = node.client();
    let body = "\u{feff} {\"url\": \"https://example.com/\"}";
    let code = send(post(&client, JSON, body)).await.code();
    assert_eq!(code, client.shorten("https://example.com/").await.code());
    for body in [
        "\u{feff}",
        "\u{feff}[]",
        "\u{feff}\u{feff}{\"url\": \"https://example.com/\"}",
    ] {
        assert_problem(&send(post(&client, JSON, body)).await, 400, body);
    }
}

#[tokio::test]
async fn a_number_is_judged_alike_in_a_form_and_in_json() {
    let node = unlimited().start().await;
    let client = node.client();
    for field in ["max_visits", "expires_in"] {
        let mut told = Vec::new();
        for number in [
            "-1",
            "0",
            "1.5",
            "-0.5",
            "1e300",
            "18446744073709551616",
            "99999999999999",
        ] {
            let form = format!("url=https://example.com/&{field}={number}");
            let answer = send(post(&client, FORM, form)).await;
            told.push(assert_problem(&answer, 422, number));
            for written in [number.to_owned(), format!("\"{number}\"")] {
                let json = format!("{{\"url\": \"https://example.com/\", \"{field}\": {written}}}");
                let answer = send(post(&client, JSON, json)).await;
                told.push(assert_problem(&answer, 422, &written));
            }
        }
        for what in &told {
            assert!(what.contains(field), "{what}");
        }
        for wrong in ["true", "[1]", "{}"] {
            let json = format!("{{\"url\": \"https://example.com/\", \"{field}\": {wrong}}}");
            let answer = send(post(&client, JSON, json)).await;
            let error = assert_problem(&answer, 400, wrong);
            assert!(error.contains(field), "{error}");
        }
        let json = format!("{{\"url\": \"https://example.com/\", \"{field}\": null}}");
        send(post(&client, JSON, json)).await.code();
    }
}
