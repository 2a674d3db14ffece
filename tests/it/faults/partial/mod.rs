//! A database that answers but fails in part, such as one that takes no writes. The node logs once when this begins and
//! once when it ends, however often it tries. What needs only the other part works.

mod postgres;
mod sqlite;

use reqwest::Method;
use testkit::{Answer, Node, NodeBuilder, eventually};

const TARGET: &str = "https://example.com/";

/// How many times a node must have tried again before a test believes what the node says.
const TRIALS: f64 = 5.0;

fn node() -> NodeBuilder {
    // Without a cache, each redirect asks the database.
    Node::builder()
        .set("limiter.enabled", "false")
        .set("cache.capacity", "0")
}

async fn make(node: &Node, alias: &str, terms: &[(&str, &str)]) -> u16 {
    let form = [&[("url", TARGET), ("alias", alias)], terms].concat();
    let request = node.client().request(Method::POST, "/shorten").form(&form);
    let answer = Answer::to(request).await.expect("an answer");
    answer.status.as_u16()
}

async fn status(node: &Node, code: &str) -> u16 {
    let answer = node.client().get(&format!("/{code}")).await;
    answer.status.as_u16()
}

/// How many times the node has tried again by itself.
async fn trials(node: &Node) -> f64 {
    let count = async |operation: &str| {
        let label = format!("operation=\"{operation}\"");
        node.metric("shunt_store_duration_seconds_count", &[&label])
            .await
    };
    let failed = node.metric("shunt_store_errors_total", &["operation=\"ping\""]);
    count("trial").await + failed.await
}

/// Waits until the node has tried again three times more, without requests.
async fn quiet(node: &Node) {
    let before = trials(node).await;
    eventually("the node tries again by itself", async || {
        (trials(node).await >= before + 3.0).then_some(())
    })
    .await;
}

/// What a fault makes of requests.
struct Fault {
    /// The status of a redirect.
    reads: u16,
    /// The status of a new link.
    inserts: u16,
    /// The status of a redirect whose visit is counted.
    visits: u16,
    /// What `/readyz` says of the database.
    state: &'static str,
}

const READ_ONLY: Fault = Fault {
    reads: 302,
    inserts: 503,
    visits: 503,
    state: "degraded",
};

const NO_INSERTS: Fault = Fault {
    visits: 302,
    ..READ_ONLY
};

const NO_VISITS: Fault = Fault {
    inserts: 200,
    ..READ_ONLY
};

const NOTHING: Fault = Fault {
    reads: 503,
    inserts: 503,
    visits: 503,
    state: "down",
};

/// Sends requests of every kind, and checks that they are answered as the fault says. `number` makes aliases differ.
async fn assert_meets(node: &Node, fault: &Fault, number: u32) {
    assert_eq!(status(node, "plain").await, fault.reads);
    assert_eq!(
        make(node, &format!("alias-{number}"), &[]).await,
        fault.inserts
    );
    let url = format!("https://example.com/{number}");
    let shortened = node.client().shorten(&url).await;
    assert_eq!(shortened.status, fault.inserts, "{shortened:?}");
    assert_eq!(status(node, "limited").await, fault.visits);
}

/// Harms the database of a node that works, and heals it. Checks that the node says each once in its log, and also on
/// `/readyz`.
async fn is_said_once(
    node: &Node,
    fault: &Fault,
    harm: impl AsyncFnOnce(),
    heal: impl AsyncFnOnce(),
) {
    assert_eq!(make(node, "plain", &[]).await, 200);
    let limited = [("max_visits", "100000")];
    assert_eq!(make(node, "limited", &limited).await, 200);
    assert_eq!(status(node, "limited").await, 302);

    harm().await;
    let mut number = 0;
    eventually("the node has tried again and again", async || {
        number += 1;
        assert_meets(node, fault, number).await;
        (trials(node).await >= TRIALS).then_some(())
    })
    .await;
    quiet(node).await;
    let fails = node.log_lines("the database fails");
    // One line for the first failure, and one for each other operation that turns out to fail.
    let all = [fault.reads, fault.inserts, fault.visits];
    let most = all.iter().filter(|&&status| status == 503).count();
    assert!((1..=most).contains(&fails.len()), "{fails:?}");
    assert_eq!(node.log_lines("the database is back"), [] as [&str; 0]);
    let ready = node.probe().get("/readyz").await;
    let expected = if fault.state == "down" && !is_postgres(&ready) {
        503
    } else {
        200
    };
    assert_eq!(ready.status, expected, "{ready:?}");
    let ready = ready.json();
    let store = ready["dependencies"].as_object().expect("an object");
    let (name, store) = store.iter().next().expect("the database");
    assert_eq!(store["status"], fault.state, "{ready}");
    let reason = ready["reasons"][0].as_str().expect("a reason");
    assert!(reason.starts_with(name.as_str()), "{reason}");
    for (what, fails) in [
        ("reads", fault.reads == 503),
        ("writes", fault.inserts == 503 || fault.visits == 503),
    ] {
        let label = format!("what=\"{what}\"");
        let failing = node.metric("shunt_store_failing", &[&label]).await;
        assert_eq!(failing, f64::from(u8::from(fails)), "{what}");
    }

    heal().await;
    eventually("that is noticed without a request", async || {
        let back = node.log_lines("the database is back").len();
        (back == 1).then_some(())
    })
    .await;
    let well = Fault {
        reads: 302,
        inserts: 200,
        visits: 302,
        state: "up",
    };
    assert_meets(node, &well, 0).await;
    assert_eq!(node.log_lines("the database fails"), fails);
    node.logged("the database is back", 1).await;
    assert_eq!(node.probe().get("/readyz").await.json()["status"], "ready");
}

fn is_postgres(ready: &Answer) -> bool {
    ready.body.contains("postgres")
}
