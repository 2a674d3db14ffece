//! Keys that are not valid: 401, and 429 if an address tries too many.

use futures_util::future::join_all;
use reqwest::Method;
use testkit::{Answer, Node, Redis, eventually, needs};

use super::{counting_in, create, get, home, look_ups, policy, shorten, unknown};
use crate::api::exchange::{
    assert_page, assert_problem, assert_status, from_browser, send, unlimited,
};

const ATTEMPTS: &str = "\"key-attempts\";q=10;w=60";

fn assert_not_valid(answer: &Answer, what: &str) {
    let error = assert_problem(answer, 401, what);
    assert_eq!(error, "That API key is not valid", "{what}");
    let challenge = answer.header("www-authenticate").expect(what);
    assert!(challenge.starts_with("Bearer "), "{what}: {challenge}");
    assert!(challenge.contains("invalid_token"), "{what}: {challenge}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

/// After ten attempts the store is not asked any more. Attempts use up no quota of other requests, nor these of
/// attempts.
async fn ten_attempts(redis: Option<&Redis>) {
    let builder = counting_in(redis);
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    let client = node.client();
    for left in (0..10).rev() {
        let answer = home(&client, &unknown()).await;
        assert_not_valid(&answer, &format!("{left} left"));
        assert_eq!(policy(&answer), ATTEMPTS);
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(look_ups(&node).await, 10.0);
    // A valid key that the node does not know is an attempt, too.
    for refused in [&unknown(), &key] {
        let answer = home(&client, refused).await;
        assert_problem(&answer, 429, refused);
        assert_eq!(policy(&answer), ATTEMPTS);
        assert!((1..=60).contains(&answer.number("retry-after")));
        assert_eq!(answer.header("www-authenticate"), None);
    }
    assert_eq!(look_ups(&node).await, 10.0, "no store is asked any more");
    let outcomes = async |outcome: &str| {
        let labels = ["policy=\"key-attempts\"", &format!("outcome=\"{outcome}\"")];
        node.metric("shunt_limiter_decisions_total", &labels).await
    };
    assert_eq!(
        [outcomes("admitted").await, outcomes("refused").await],
        [10.0, 2.0]
    );
    // What is no key asks no store, and uses up no attempt: it is a request like any other.
    let answer = home(&client, "nonsense").await;
    assert_not_valid(&answer, "nonsense");
    assert!(policy(&answer).starts_with("\"default\""), "{answer:?}");
    // Without a key, the address has its quota.
    for left in (0..9).rev() {
        let answer = client.get("/").await;
        assert_status(&answer, 200, "without a key");
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
    }
    assert_problem(&client.get("/").await, 429, "the eleventh without a key");
    // From another address the key is verified, and then the node knows it.
    assert_status(&home(&node.client_at([127, 0, 0, 2]), &key).await, 200, "");
    let answer = home(&client, &key).await;
    assert_status(&answer, 200, "a known key is no attempt");
    assert!(policy(&answer).starts_with("\"per-key\""), "{answer:?}");
}

#[tokio::test]
async fn ten_attempts_with_bad_keys_are_401_and_then_429() {
    ten_attempts(None).await;
}

#[tokio::test]
async fn ten_attempts_with_bad_keys_are_401_and_then_429_with_redis() {
    needs!("redis-server");
    ten_attempts(Some(&Redis::start().await)).await;
}

#[tokio::test]
async fn two_nodes_count_the_attempts_of_an_address_together() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let builder = counting_in(Some(&redis));
    let nodes = [builder.start().await, builder.start().await];
    let answers = (0..64).map(|number| {
        let client = nodes[number % 2].client();
        async move { home(&client, &unknown()).await.status.as_u16() }
    });
    let statuses = join_all(answers).await;
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(401), count(429)), (10, 54));
}

#[tokio::test]
async fn a_key_that_is_not_valid_is_401_on_every_limited_route() {
    let node = unlimited().start().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    let link = format!("/{code}");
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, &*link),
        (Method::GET, "/no-such-link"),
        (Method::GET, "/a/b"),
        (Method::DELETE, &*link),
        (Method::GET, "/shorten"),
    ] {
        let request = client.request(method.clone(), path).bearer_auth(unknown());
        assert_not_valid(&send(request).await, &format!("{method} {path}"));
    }
    let head = client.request(Method::HEAD, &link).bearer_auth(unknown());
    let head = send(head).await;
    assert_status(&head, 401, "HEAD");
    assert_eq!(head.header("location"), None);
    // Not a silent link without an owner.
    let url = [("url", "https://example.org/")];
    let request = client.request(Method::POST, "/shorten").form(&url);
    assert_not_valid(&send(request.bearer_auth(unknown())).await, "POST /shorten");
    // In a browser.
    let page = send(from_browser(get(&client, &link, &unknown()))).await;
    assert_page(&page, 401, "a page");
    assert!(page.body.contains("That API key is not valid"), "{page:?}");
    // What a browser fetches by itself is under no limit, and asks no store.
    let before = look_ups(&node).await;
    for path in ["/favicon.ico", "/robots.txt"] {
        assert_status(&send(get(&client, path, &unknown())).await, 200, path);
    }
    assert_eq!(look_ups(&node).await, before);
}

/// As without a key, a client that sends on after a refusal does so on the same connection.
#[tokio::test]
async fn the_body_of_a_request_that_is_refused_is_read() {
    let node = unlimited().start().await;
    let mut connection = testkit::RawConnection::open(node.address()).await;
    let body = format!("url=https://example.com/{}", "a".repeat(20_000));
    let post = format!(
        "POST /shorten HTTP/1.1\r\nHost: a\r\nX-Api-Key: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        unknown(),
        body.len()
    );
    let statuses = super::headers::statuses(&mut connection, &[post.clone(), post]).await;
    assert_eq!(statuses, [401, 401]);
}

/// A program sends several requests at once before the node knows its key: one attempt.
#[tokio::test]
async fn many_first_requests_with_one_key_are_one_attempt() {
    let builder = Node::builder();
    // Before the node starts: later, it would hear of a change, perhaps in the middle of the requests.
    let key = create(&builder, "phone", &[]);
    let node = builder.start().await;
    eventually("the node hears of changes", async || {
        (node.metric("shunt_keys_watching", &[]).await == 1.0).then_some(())
    })
    .await;
    let answers = (0..64).map(|_| {
        let (client, key) = (node.client(), key.clone());
        async move { home(&client, &key).await.status.as_u16() }
    });
    assert_eq!(join_all(answers).await, [200; 64]);
    // The last of them may begin when the first is over: then the node knows the key.
    let attempts = ["policy=\"key-attempts\""];
    let attempts = node.metric("shunt_limiter_decisions_total", &attempts);
    assert_eq!(attempts.await, 1.0);
    assert_eq!(look_ups(&node).await, 1.0);
    // The same with a key that is not valid gains nothing: every request counts.
    let bad = unknown();
    let answers = (0..64).map(|_| {
        let (client, key) = (node.client_at([127, 0, 0, 2]), bad.clone());
        async move { home(&client, &key).await.status.as_u16() }
    });
    let statuses = join_all(answers).await;
    let not_valid = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(not_valid, 10, "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
}

#[tokio::test]
async fn without_a_limit_and_for_exempt_clients_a_bad_key_is_401_all_the_same() {
    for (key, value) in [
        ("limiter.enabled", "false"),
        ("limiter.exempt", "127.0.0.0/8"),
    ] {
        let builder = Node::builder().set(key, value);
        let node = builder.start().await;
        let good = create(&builder, "phone", &["--quota", "1/minute"]);
        let client = node.client();
        for _ in 0..30 {
            let answer = home(&client, &unknown()).await;
            assert_not_valid(&answer, key);
            assert_eq!(policy(&answer), "", "{key}");
            let answer = send(shorten(&client, &good)).await;
            assert_status(&answer, 200, key);
            assert_eq!(policy(&answer), "", "{key}");
        }
    }
}

/// A program with a valid key that the node does not know tries again and again, as after a restart. The limiter logs
/// refused requests; if it logged refused attempts, too, the program would never get in.
#[tokio::test]
async fn a_valid_key_gets_in_although_it_does_not_wait() {
    let builder = Node::builder().set("limiter.quota", "3/4s");
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    let client = node.client();
    for _ in 0..3 {
        assert_not_valid(&home(&client, &unknown()).await, "an attempt");
    }
    let mut refused = 0;
    eventually("the key is valid", async || {
        let answer = home(&client, &key).await;
        if answer.status == 200 {
            return Some(());
        }
        assert_problem(&answer, 429, "an attempt too many");
        assert!((1..=4).contains(&answer.number("retry-after")));
        refused += 1;
        None
    })
    .await;
    // More often than the window log has room for.
    assert!(refused > 10, "{refused}");
}
