//! Exemptions, named policies, tiers.

use testkit::{Answer, Client, Node};

use super::exchange::assert_status;

fn policy(answer: &Answer) -> &str {
    answer.header("ratelimit-policy").unwrap_or_default()
}

async fn shorten(client: &Client) -> Answer {
    client.shorten("https://example.com/").await
}

/// The client is never limited, and its answers have no headers of a limit.
async fn assert_unlimited(client: &Client, what: &str) {
    for _ in 0..30 {
        let answer = client.get("/").await;
        assert_status(&answer, 200, what);
        let names = answer.headers.keys().map(|name| name.as_str());
        let told: Vec<_> = names.filter(|name| name.contains("ratelimit")).collect();
        assert!(told.is_empty(), "{what}: {told:?}");
    }
}

#[tokio::test]
async fn an_exempt_client_has_no_limit_and_no_headers() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .set("limiter.exempt", "127.0.0.9, 127.0.1.0/24")
        .start()
        .await;
    assert_unlimited(&node.client_at([127, 0, 0, 9]), "the address").await;
    assert_unlimited(&node.client_at([127, 0, 1, 77]), "the network").await;
    let other = node.client_at([127, 0, 0, 10]);
    assert_status(&other.get("/").await, 200, "another client");
    assert_status(&other.get("/").await, 429, "another client");
}

#[tokio::test]
async fn a_limiter_that_is_off_limits_nobody() {
    let node = Node::builder()
        .set("limiter.enabled", "false")
        .start()
        .await;
    assert_unlimited(&node.client(), "limiter.enabled=false").await;
}

#[tokio::test]
async fn a_policy_for_one_route_counts_no_other() {
    let node = Node::builder()
        .set("limiter.quota", "3/minute")
        .set("limiter.policies.writes.quota", "2/hour")
        .set("limiter.policies.writes.routes", "shorten")
        .start()
        .await;
    let client = node.client();
    let (writes, default) = ("\"writes\";q=2;w=3600", "\"default\";q=3;w=60");
    let first = shorten(&client).await;
    let path = format!("/{}", first.code());
    assert_eq!(
        (policy(&first), first.number("x-ratelimit-remaining")),
        (writes, 1)
    );
    // Following is under the default policy, whose quota shortening does not use up.
    for remaining in [2, 1] {
        let answer = client.get(&path).await;
        assert_status(&answer, 302, "following");
        let left = answer.number("x-ratelimit-remaining");
        assert_eq!((policy(&answer), left), (default, remaining));
    }
    assert_status(&shorten(&client).await, 200, "the second write");
    let refused = shorten(&client).await;
    assert_status(&refused, 429, "the third write");
    assert_eq!(policy(&refused), writes);
    assert!(refused.number("retry-after") > 3_500, "{refused:?}");
    // And following was not refused because of shortening.
    assert_status(
        &client.get("/").await,
        200,
        "the third under the default policy",
    );
    assert_status(
        &client.get(&path).await,
        429,
        "the fourth under the default policy",
    );
}

#[tokio::test]
async fn a_policy_for_some_clients_leaves_the_others_to_the_default() {
    let node = Node::builder()
        .set("limiter.quota", "1/minute")
        .set("limiter.policies.partners.quota", "3/minute")
        .set("limiter.policies.partners.clients", "127.0.5.0/24")
        .start()
        .await;
    for (address, expected, quota) in [
        ([127, 0, 5, 1], "\"partners\";q=3;w=60", 3),
        ([127, 0, 5, 2], "\"partners\";q=3;w=60", 3),
        ([127, 0, 6, 1], "\"default\";q=1;w=60", 1),
    ] {
        let client = node.client_at(address);
        for number in 1..=quota + 1 {
            let answer = client.get("/").await;
            let status = if number > quota { 429 } else { 200 };
            assert_status(&answer, status, &format!("{address:?}, request {number}"));
            assert_eq!(policy(&answer), expected, "{address:?}");
        }
    }
}

#[tokio::test]
async fn of_two_tiers_both_hold_and_both_are_told() {
    // The narrower of the two policies, its quota, and the shortest time that it makes a client wait.
    for (burst, daily, admitted, least_wait, limit) in [
        ("3/minute", "5/day", 3, 1, 3),
        ("5/minute", "2/day", 2, 3_600, 2),
    ] {
        let node = Node::builder()
            .set("limiter.policies.burst.quota", burst)
            .set("limiter.policies.burst.routes", "home,follow")
            .set("limiter.policies.daily.quota", daily)
            .start()
            .await;
        let client = node.client();
        let q = |quota: &str| quota.split('/').next().unwrap().to_owned();
        let policies = format!(
            "\"burst\";q={};w=60, \"daily\";q={};w=86400",
            q(burst),
            q(daily)
        );
        for number in 1..=admitted + 1 {
            let answer = client.get("/").await;
            let what = format!("{burst} and {daily}, request {number}: {answer:?}");
            let status = if number > admitted { 429 } else { 200 };
            assert_status(&answer, status, &what);
            assert_eq!(policy(&answer), policies, "{what}");
            let states = answer.header("ratelimit").unwrap();
            let (first, second) = states.split_once(", ").expect(&what);
            assert!(first.starts_with("\"burst\";r="), "{what}");
            assert!(second.starts_with("\"daily\";r="), "{what}");
            // The older headers have room for one policy: the one that refuses first.
            assert_eq!(answer.number("x-ratelimit-limit"), limit, "{what}");
            let remaining = u64::saturating_sub(admitted, number);
            assert_eq!(answer.number("x-ratelimit-remaining"), remaining, "{what}");
            if status == 429 {
                assert!(answer.number("retry-after") >= least_wait, "{what}");
            }
        }
        // Only the wide tier covers this route. It has counted all requests so far.
        let answer = shorten(&client).await;
        assert_eq!(answer.number("x-ratelimit-remaining"), 0, "{answer:?}");
        let daily_only = format!("\"daily\";q={};w=86400", q(daily));
        assert_eq!(policy(&answer), daily_only);
    }
}
