//! The flood shield in the real program: a node refuses a flood without asking Redis, and neither a client nor another
//! node can tell. `stores/shield.rs` compares its decisions with the model, on any schedule.

mod interruptions;
mod one_node;
mod other_nodes;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use testkit::{Answer, Client, Node, NodeBuilder, Redis, eventually};

/// Two nodes, or a node and Redis, may disagree on the time by this much.
const CLOCK_ERROR: Duration = Duration::from_millis(10);

/// A node that waits for Redis longer than a busy machine stalls. A node must not take Redis for lost unless the test
/// kills it.
fn node(redis: &Redis, quota: &str, write_back: &str) -> NodeBuilder {
    Node::builder()
        .redis(redis)
        .set("limiter.quota", quota)
        .set("limiter.write_back", write_back)
        .set("limiter.redis.timeout", "2s")
}

/// A request and its answer, and when they were on their way.
struct Exchange {
    sent: Instant,
    received: Instant,
    answer: Answer,
}

impl Exchange {
    async fn of(client: &Client) -> Self {
        let sent = Instant::now();
        let answer = client.get("/").await;
        Self {
            sent,
            received: Instant::now(),
            answer,
        }
    }

    fn admitted(&self) -> bool {
        match self.answer.status {
            StatusCode::OK => true,
            StatusCode::TOO_MANY_REQUESTS => false,
            _ => panic!("{:?}", self.answer),
        }
    }
}

/// Sends requests one after the other, each as soon as the one before is answered.
async fn flood(client: &Client, requests: usize) -> Vec<Exchange> {
    let mut flood = Vec::with_capacity(requests);
    for _ in 0..requests {
        flood.push(Exchange::of(client).await);
    }
    flood
}

/// How many decisions have these labels, such as `source="shield"`.
async fn decisions(node: &Node, labels: &[&str]) -> usize {
    node.metric("shunt_limiter_decisions_total", labels).await as usize
}

/// How many requests this source has refused.
async fn refused_by(node: &Node, source: &str) -> usize {
    let source = format!("source=\"{source}\"");
    decisions(node, &["outcome=\"refused\"", &source]).await
}

/// Waits until the shield has refused another `count` requests.
async fn shield_refuses(node: &Node, count: usize) {
    let before = refused_by(node, "shield").await;
    eventually("the shield refuses", async || {
        (refused_by(node, "shield").await >= before + count).then_some(())
    })
    .await;
}

/// Whole seconds, rounded up, as in `Retry-After`.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
