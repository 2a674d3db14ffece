//! Visits count the same with a cache and without one.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use reqwest::Method;
use testkit::{Answer, Node, eventually, needs};
use tokio::sync::Barrier;

use super::{Pair, TARGET, make, node, start, status};

/// A request for a link.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Visitor,
    Head,
    Prefetch,
    Preview,
}

use Asks::{Head, Prefetch, Preview, Visitor};

struct Scenario {
    code: &'static str,
    terms: &'static [(&'static str, &'static str)],
    /// One after the other, with the status of each answer, and whether it tells the target.
    requests: &'static [(Asks, u16, bool)],
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        code: "unlimited",
        terms: &[],
        requests: &[
            (Visitor, 302, true),
            (Head, 302, true),
            (Prefetch, 302, true),
            (Preview, 302, true),
            (Visitor, 302, true),
        ],
    },
    Scenario {
        code: "once",
        terms: &[("max_visits", "1")],
        requests: &[
            (Head, 200, false),
            (Preview, 200, false),
            (Prefetch, 503, false),
            (Visitor, 302, true),
            (Visitor, 410, false),
            (Head, 410, false),
            (Preview, 410, false),
            (Prefetch, 410, false),
        ],
    },
    Scenario {
        code: "twice",
        terms: &[("max_visits", "2"), ("expires_in", "1h")],
        requests: &[
            (Visitor, 302, true),
            (Preview, 200, false),
            (Visitor, 302, true),
            (Visitor, 410, false),
            (Visitor, 410, false),
        ],
    },
    Scenario {
        code: "expiring",
        terms: &[("expires_in", "1h")],
        requests: &[(Visitor, 302, true), (Head, 302, true)],
    },
];

async fn ask(node: &Node, asks: Asks, code: &str) -> Answer {
    let client = node.client();
    let path = format!("/{code}");
    let get = || client.request(Method::GET, &path);
    let request = match asks {
        Visitor => get(),
        Head => client.request(Method::HEAD, &path),
        Prefetch => get().header("sec-purpose", "prefetch"),
        Preview => get().header("user-agent", "Twitterbot/1.0"),
    };
    Answer::to(request).await.expect("an answer")
}

async fn counts_visits(node: &Node, when: &str) {
    for Scenario {
        code,
        terms,
        requests,
    } in SCENARIOS
    {
        make(&node.client(), code, terms).await;
        for (number, (asks, status, told)) in requests.iter().enumerate() {
            let answer = ask(node, *asks, code).await;
            let what = format!("{when}: request {number} for {code}, {asks:?}: {answer:?}");
            assert_eq!(answer.status, *status, "{what}");
            let target = told.then_some(TARGET);
            assert_eq!(answer.header("location"), target, "{what}");
            // A cache between node and client may keep a plain redirect, and no other answer.
            let limited = terms.iter().any(|(name, _)| *name == "max_visits");
            let may_be_kept = answer.header("cache-control").is_none();
            assert_eq!(may_be_kept, *told && !limited, "{what}");
        }
    }
    // Those of visitors while visits were left.
    let visits = node.metric(
        "shunt_store_duration_seconds_count",
        &["operation=\"visit\""],
    );
    assert_eq!(visits.await, 3.0, "{when}");
    for (kind, number) in [("head", 1.0), ("prefetch", 1.0), ("preview", 2.0)] {
        let label = format!("kind=\"{kind}\"");
        let counted = node.metric("shunt_onlookers_total", &[&label]).await;
        assert_eq!(counted, number, "{when}: {kind}");
    }

    make(
        &node.client(),
        "brief",
        &[("max_visits", "9"), ("expires_in", "1")],
    )
    .await;
    eventually("a link with visits left expires", async || {
        let answer = ask(node, Head, "brief").await;
        (answer.status == 410).then_some(())
    })
    .await;
    let answer = ask(node, Visitor, "brief").await;
    assert_eq!(answer.status, 410, "{when}: {answer:?}");
}

#[tokio::test]
async fn visits_count_the_same_with_a_cache_and_without_one() {
    counts_visits(&start(&node()).await, "with a cache").await;
    let without = node().set("cache.capacity", "0").start().await;
    counts_visits(&without, "without a cache").await;
}

#[tokio::test]
async fn two_nodes_let_exactly_as_many_visitors_through_as_a_link_allows() {
    needs!("postgres");
    let Pair { a, b, .. } = Pair::start(|node| node).await;
    for round in 0..5 {
        let code = format!("five-{round}");
        make(&a.client(), &code, &[("max_visits", "5")]).await;
        // All visits wait for each other before they are sent.
        let barrier = Barrier::new(200);
        let visits = (0..200).map(|number| {
            let client = if number % 2 == 0 {
                a.client()
            } else {
                b.client()
            };
            let (barrier, code) = (&barrier, &code);
            async move {
                barrier.wait().await;
                status(&client, code).await
            }
        });
        let mut statuses = BTreeMap::new();
        for status in join_all(visits).await {
            *statuses.entry(status).or_insert(0) += 1;
        }
        let expected = BTreeMap::from([(302, 5), (410, 195)]);
        assert_eq!(statuses, expected, "round {round}");
    }
}
