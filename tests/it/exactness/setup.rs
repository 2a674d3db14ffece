//! Three nodes that share a limit.

use std::time::Duration;

use testkit::{Metrics, Node, NodeBuilder, eventually};

use super::checker::{Checker, Limit};

/// How many nodes each row has.
pub const NODES: usize = 3;

/// The most by which a node's idea of Redis's time may be wrong: half of the shortest of a few round trips, on a busy
/// machine.
const CLOCK_ERROR: Duration = Duration::from_millis(25);

/// What the nodes of a row are told.
#[derive(Clone)]
pub struct Setup {
    /// Names and quotas of the policies that cover each request, the tightest first.
    pub policies: Vec<(&'static str, usize, Duration)>,
    pub shield: bool,
    /// `limiter.redis.timeout`, if it is not the default.
    pub timeout: Option<&'static str>,
    pub clock_error: Duration,
}

impl Setup {
    /// The policy `default` and the shield.
    pub fn one_quota() -> Self {
        Self {
            policies: vec![("default", 10, Duration::from_secs(2))],
            shield: true,
            timeout: None,
            clock_error: CLOCK_ERROR,
        }
    }

    /// Two policies at once, and no shield.
    pub fn two_quotas() -> Self {
        Self {
            policies: vec![
                ("short", 5, Duration::from_secs(1)),
                ("longer", 12, Duration::from_secs(4)),
            ],
            shield: false,
            ..Self::one_quota()
        }
    }

    /// The same with longer windows, for faults that last longer.
    pub fn stretched(mut self, times: u32) -> Self {
        for (_, _, window) in &mut self.policies {
            *window *= times;
        }
        self
    }

    /// The quota that is used up first.
    pub fn limit(&self) -> usize {
        self.policies[0].1
    }

    /// The window of [`limit`](Self::limit).
    pub fn window(&self) -> Duration {
        self.policies[0].2
    }

    pub fn longest_window(&self) -> Duration {
        let windows = self.policies.iter().map(|(_, _, window)| *window);
        windows.max().expect("a policy")
    }

    pub fn checker(&self) -> Checker {
        self.checker_of(|limit| limit)
    }

    /// A checker that allows each window one node's share more than the quota.
    pub fn lenient_checker(&self) -> Checker {
        self.checker_of(|limit| limit + limit / NODES)
    }

    fn checker_of(&self, allowed: impl Fn(usize) -> usize) -> Checker {
        let limits = self.policies.iter().map(|&(_, requests, window)| Limit {
            requests: allowed(requests),
            window: micros(window),
        });
        Checker {
            limits: limits.collect(),
            clock_error: micros(self.clock_error),
        }
    }

    fn configure(&self, url: &str) -> NodeBuilder {
        let mut node = Node::builder()
            .set("redis.url", url)
            .set("http.trusted_proxies", "127.0.0.1/32")
            // The client library may open a connection and use it only later.
            .set("http.request_timeout", "2m")
            .set("limiter.shield", &self.shield.to_string())
            // The shield changes no decision if a window is longer than three of these. On a busy machine a write may
            // be late.
            .set("limiter.write_back", "100ms");
        for (name, requests, window) in &self.policies {
            let key = match *name {
                "default" => "limiter.quota".to_owned(),
                name => format!("limiter.policies.{name}.quota"),
            };
            node = node.set(&key, &format!("{requests}/{}ms", window.as_millis()));
        }
        match self.timeout {
            Some(timeout) => node.set("limiter.redis.timeout", timeout),
            None => node,
        }
    }

    /// Starts the nodes, and waits until all of them count in Redis and know each other.
    pub async fn start(&self, url: &str) -> Fleet {
        self.start_each([url; NODES]).await
    }

    /// The same if nodes reach Redis in different ways.
    pub async fn start_each(&self, urls: [&str; NODES]) -> Fleet {
        let mut nodes = Vec::new();
        for url in urls {
            nodes.push(self.configure(url).start().await);
        }
        let fleet = Fleet {
            nodes,
            setup: self.clone(),
        };
        fleet.counts_in_redis().await;
        fleet.know_each_other().await;
        fleet
    }
}

/// The nodes of a row.
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub setup: Setup,
}

/// How many decisions nodes made by themselves, neither in Redis nor because it is certain what Redis would say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local {
    pub all: f64,
    pub refused: f64,
}

impl Fleet {
    /// Waits until Redis decides again on all nodes.
    pub async fn counts_in_redis(&self) {
        eventually("all breakers are closed", async || {
            for node in &self.nodes {
                if node.metric("shunt_limiter_breaker_open", &[]).await != 0.0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until each node counts all of them.
    async fn know_each_other(&self) {
        eventually("the nodes know each other", async || {
            for node in &self.nodes {
                if node.metric("shunt_limiter_nodes", &[]).await != NODES as f64 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// The decisions that nodes made by themselves so far.
    pub async fn local(&self) -> Local {
        let mut local = Local::default();
        for node in &self.nodes {
            let metrics = node.metrics().await;
            local.all += without_redis(&metrics, &[]);
            local.refused += without_redis(&metrics, &["outcome=\"refused\""]);
        }
        local
    }
}

fn without_redis(metrics: &Metrics, labels: &[&str]) -> f64 {
    let decided = |labels: &[&str]| metrics.sum("shunt_limiter_decisions_total", labels);
    let by = |source: &str| decided(&[labels, &[source]].concat());
    decided(labels) - by("source=\"redis\"") - by("source=\"shield\"")
}

pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("small")
}
