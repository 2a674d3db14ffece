//! What a browser fetches by itself: the node answers, the browser keeps it, and it costs no quota.

use reqwest::Method;
use testkit::{Client, Node};

use super::exchange::{assert_problem, assert_status, from_browser, send};

const ICONS: [&str; 6] = [
    "/favicon.ico",
    "/apple-touch-icon.png",
    "/apple-touch-icon-precomposed.png",
    "/apple-touch-icon-120x120.png",
    "/apple-touch-icon-120x120-precomposed.png",
    "/apple-touch-icon-180x180.png",
];

/// Paths that a browser fetches by itself, each with the status of the answer.
fn fetched() -> impl Iterator<Item = (&'static str, u16)> {
    let icons = ICONS.map(|path| (path, 200));
    let others = [
        ("/robots.txt", 200),
        ("/.well-known/security.txt", 404),
        ("/.well-known/change-password", 404),
        ("/.well-known/appspecific/com.chrome.devtools.json", 404),
        ("/.well-known/", 404),
        // The same paths, spelled differently.
        ("/favicon%2Eico", 200),
        ("/%66avicon.ico", 200),
        ("/%2Ewell-known/security.txt", 404),
    ];
    icons.into_iter().chain(others)
}

async fn tight() -> Node {
    Node::builder()
        .set("limiter.quota", "2/minute")
        .set("limiter.policies.others.quota", "2/minute")
        .set("limiter.policies.others.routes", "other")
        .start()
        .await
}

async fn bytes(client: &Client, path: &str) -> Vec<u8> {
    let answer = client.request(Method::GET, path).send().await.unwrap();
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn what_a_browser_fetches_by_itself_costs_no_quota_and_is_kept() {
    let node = tight().await;
    let client = node.client();
    for (path, status) in fetched() {
        for method in [Method::GET, Method::HEAD] {
            for browser in [false, true] {
                let mut request = client.request(method.clone(), path);
                if browser {
                    request = from_browser(request);
                }
                let answer = send(request).await;
                let what = format!("{method} {path}: {answer:?}");
                assert_status(&answer, status, &what);
                let cache = answer.header("cache-control").expect(&what);
                let age = cache.strip_prefix("public, max-age=").expect(&what);
                assert!(age.parse::<u32>().expect(&what) >= 3_600, "{what}");
                let names = answer.headers.keys().map(|name| name.as_str());
                let told: Vec<_> = names.filter(|name| name.contains("ratelimit")).collect();
                assert!(told.is_empty(), "{what}");
                // All clients get the same form of the answer.
                assert_eq!(answer.header("vary"), None, "{what}");
                assert!(answer.header("x-request-id").is_some(), "{what}");
                assert_eq!(answer.body.is_empty(), method == Method::HEAD, "{what}");
                if (status, &method) == (404, &Method::GET) {
                    assert_problem(&answer, 404, &what);
                }
            }
        }
    }
    // All of the quotas is left; and a client that is over its quota still gets its icon.
    for status in [200, 200, 429] {
        assert_status(&client.get("/").await, status, "afterwards");
    }
    assert_status(&client.get("/favicon.ico").await, 200, "over the quota");
    for status in [404, 404, 429] {
        assert_status(&client.get("/a/b").await, status, "afterwards");
    }
    let decided = node.metric("shunt_limiter_decisions_total", &[]).await;
    assert_eq!(decided, 6.0, "the six that are not fetched by themselves");
    let labels = ["route=\"asset\"", "status=\"200\"", "method=\"GET\""];
    let counted = node.metric("shunt_http_requests_total", &labels).await;
    assert_eq!(
        counted, 19.0,
        "nine paths, twice, and the icon over the quota"
    );
}

#[tokio::test]
async fn icons_are_images_and_small() {
    let node = tight().await;
    for path in ICONS {
        let answer = send(node.client().request(Method::HEAD, path)).await;
        let icon = bytes(&node.client(), path).await;
        let (kind, start) = if path.ends_with(".ico") {
            ("image/x-icon", &b"\0\0\x01\0"[..])
        } else {
            ("image/png", &b"\x89PNG\r\n\x1a\n"[..])
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.number("content-length"), icon.len() as u64, "{path}");
        assert!(icon.starts_with(start), "{path}");
        assert!(icon.len() < 2_048, "{path}: {}", icon.len());
    }
}

#[tokio::test]
async fn robots_may_look_at_the_page_and_at_no_link() {
    let node = tight().await;
    let answer = node.client().get("/robots.txt").await;
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("text/plain; charset=utf-8"));
    let lines: Vec<_> = answer.body.lines().collect();
    assert_eq!(lines, ["User-agent: *", "Allow: /$", "Disallow: /"]);
}

#[tokio::test]
async fn other_methods_and_paths_that_only_look_alike_are_under_the_limit() {
    let node = tight().await;
    for (address, method, path, status) in [
        (1, "POST", "/favicon.ico", 405),
        (2, "DELETE", "/robots.txt", 405),
        (3, "PUT", "/.well-known/security.txt", 405),
        (4, "GET", "/favicon.icon", 404),
        (5, "GET", "/favicon.ico/x", 404),
        (6, "GET", "/x/favicon.ico", 404),
        (7, "GET", "/.well-known-but-longer", 404),
        (8, "GET", "/apple-touch-icon", 404),
        (9, "GET", "/apple-touch-icon/x.png", 404),
        (10, "GET", "/apple-touch-icons-are-many.png", 404),
        (11, "GET", "/favicon", 404),
        (12, "GET", "/robots", 404),
    ] {
        let client = node.client_at([127, 0, 8, address]);
        for status in [status, status, 429] {
            let answer = send(client.request(method.parse().unwrap(), path)).await;
            assert_status(&answer, status, &format!("{method} {path}"));
            if status == 405 {
                assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{path}");
            }
        }
    }
}
