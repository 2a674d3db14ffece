//! Every limit of the table in `nginx/README.md`, at its edge and through nginx. A request just inside works to its
//! end. A request just outside gets a proper error, and takes no node out of rotation.

use reqwest::Method;
use testkit::{Answer, needs};

use super::{Front, get, post, status};

/// The longest target, in bytes.
const URL: usize = 8192;
/// The longest body.
const BODY: usize = 32 * 1024;
/// The longest line of a head, with its end.
const LINE: usize = 8192;

fn url(length: usize) -> String {
    let base = "https://example.com/";
    format!("{base}{}", "a".repeat(length - base.len()))
}

/// The character that takes most room in a form.
fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A form of exactly this length with the longest URL. Empty fields, which mean nothing, fill it.
fn form(length: usize) -> String {
    let form = format!("url={}", percent_encoded(&url(URL)));
    let padding = "&".repeat(length - form.len());
    form + &padding
}

fn chunked(body: &str) -> Vec<u8> {
    let head = "POST /shorten HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (first, second) = body.split_at(body.len() / 2);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(second)).into_bytes()
}

fn headers(count: usize) -> String {
    (0..count)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect()
}

/// A header line of this length.
fn header(name: &str, length: usize) -> String {
    let value = "a".repeat(length - name.len() - ": \r\n".len());
    format!("{name}: {value}\r\n")
}

/// `GET` with a request line of this length.
fn get_with_line(length: usize) -> Vec<u8> {
    let path = "a".repeat(length - "GET / HTTP/1.1\r\n".len());
    get(&format!("/{path}"), "")
}

#[tokio::test]
async fn every_limit_of_a_request_is_refused_in_good_order() {
    needs!("nginx");
    let front = Front::start().await;
    // Each line fills a buffer of nginx. The last buffer needs room for the end of the head.
    let lines = |last: usize| -> String {
        let full = (0..3).map(|number| header(&format!("X-{number}"), LINE));
        full.chain([header("X-3", last)]).collect()
    };
    // A node takes 96 headers. nginx replaces the client's `Connection` and adds three.
    let most_headers = 96 - 3 - 1;
    for (limit, inside, expected, outside, refused) in [
        (
            "the request line",
            get_with_line(LINE),
            404,
            get_with_line(LINE + 1),
            414,
        ),
        (
            "a header",
            get("/", &header("X", LINE)),
            200,
            get("/", &header("X", LINE + 1)),
            400,
        ),
        (
            "the head",
            get("/", &lines(LINE - 2)),
            200,
            get("/", &lines(LINE - 1)),
            400,
        ),
        (
            "the number of headers",
            get("/", &headers(most_headers)),
            200,
            get("/", &headers(most_headers + 1)),
            431,
        ),
        (
            "the number of headers, with a body",
            post("/shorten", &headers(most_headers - 2), &form(BODY)),
            200,
            post("/shorten", &headers(most_headers - 1), &form(BODY)),
            431,
        ),
        (
            "the body",
            post("/shorten", "", &form(BODY)),
            200,
            post("/shorten", "", &form(BODY + 1)),
            413,
        ),
        (
            "a body that is awaited",
            post("/shorten", "Expect: 100-continue\r\n", &form(BODY)),
            200,
            post("/shorten", "Expect: 100-continue\r\n", &form(BODY + 1)),
            413,
        ),
        (
            "a body in chunks",
            chunked(&form(BODY)),
            200,
            chunked(&form(BODY + 1)),
            413,
        ),
        (
            "the URL",
            post("/shorten", "", &format!("url={}", url(URL))),
            200,
            post("/shorten", "", &format!("url={}", url(URL + 1))),
            422,
        ),
        (
            "the URL, percent-encoded",
            post(
                "/shorten",
                "",
                &format!("url={}", percent_encoded(&url(URL))),
            ),
            200,
            post(
                "/shorten",
                "",
                &format!("url={}", percent_encoded(&url(URL + 1))),
            ),
            422,
        ),
    ] {
        let answer = front.exchange(&inside).await;
        assert_eq!(status(&answer), expected, "inside {limit}: {answer}");
        front.assert_both_nodes_serve(limit).await;
        for _ in 0..3 {
            let answer = front.exchange(&outside).await;
            assert_eq!(status(&answer), refused, "beyond {limit}: {answer}");
        }
        front
            .assert_both_nodes_serve(&format!("more than {limit}"))
            .await;
    }
}

#[tokio::test]
async fn a_link_to_the_longest_url_is_followed_through_every_node() {
    needs!("nginx");
    let front = Front::start().await;
    let client = front.client_at([127, 0, 0, 1]);
    let url = url(URL);
    let code = client.shorten(&url).await.code();
    for _ in 0..6 {
        let answer = client.get(&format!("/{code}")).await;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some(&*url));
    }
    front.assert_both_nodes_serve("the longest URL").await;
}

/// Together with the largest head: that of an answer under many policies.
#[tokio::test]
async fn the_largest_head_of_an_answer_passes() {
    needs!("nginx");
    let front = Front::start_with("", |node| {
        let policies = (0..20).fold(
            node.set("limiter.exempt", "192.0.2.0/24"),
            |node, number| {
                let name = format!("p{number:0>2}{}", "a".repeat(29));
                node.set(&format!("limiter.policies.{name}.quota"), "1000000/minute")
            },
        );
        policies.set("limiter.quota", "1000000/minute")
    })
    .await;
    let client = front.client_at([127, 0, 0, 1]);
    let code = client.shorten(&url(URL)).await.code();
    for _ in 0..6 {
        let request = client
            .request(Method::GET, &format!("/{code}"))
            .header("X-Request-Id", "a".repeat(128));
        let answer = Answer::to(request).await.expect("an answer");
        assert_eq!(answer.status, 302, "{answer:?}");
        // The default policy does not hold beside others that cover everything.
        for header in ["ratelimit-policy", "ratelimit"] {
            let policies = answer.header(header).expect(header);
            assert_eq!(policies.split(", ").count(), 20, "{policies}");
        }
    }
    front.assert_both_nodes_serve("the largest head").await;
}

/// A page that repeats what the client sent. HTML needs five bytes for each of these characters.
#[tokio::test]
async fn the_largest_body_of_an_answer_passes() {
    needs!("nginx");
    let front = Front::start().await;
    let quotes = format!("url={}", "\"".repeat(BODY - "url=".len()));
    for _ in 0..2 {
        let answer = front
            .exchange(&post("/shorten", "Accept: text/html\r\n", &quotes))
            .await;
        assert_eq!(status(&answer), 422);
        assert!(answer.ends_with("</html>\n") || answer.trim_end().ends_with("</html>"));
        assert!(answer.len() > 4 * BODY, "{}", answer.len());
    }
    front.assert_both_nodes_serve("the largest body").await;
}

#[tokio::test]
async fn a_connection_ends_after_its_thousandth_request_and_not_before() {
    needs!("nginx");
    let front = Front::start().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = front.exchange(request.repeat(1_000).as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 1_000);
    assert_eq!(answers.matches("Connection: close\r\n").count(), 1);
    front.assert_both_nodes_serve("a thousand requests").await;
}
