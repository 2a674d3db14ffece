//! Links that many clients follow, and whether a scan pushed them out of the cache.

use std::sync::Arc;

use anyhow::ensure;
use reqwest::StatusCode;
use testkit::Node;

use crate::counters::Counters;

/// How many hot links.
const LINKS: usize = 100;

/// This many look-ups prove nothing: a node looks up a link again when it has grown old.
const TOLERATED: u64 = 5;

/// Links that many clients follow.
pub(crate) struct HotLinks {
    node: Arc<Node>,
    codes: Vec<String>,
    /// How many links the worst scan pushed out.
    lost: u64,
}

impl HotLinks {
    pub(crate) async fn make(node: Arc<Node>) -> Self {
        let client = node.client();
        let mut codes = Vec::new();
        for number in 0..LINKS {
            let url = format!("https://example.com/hot/{number}");
            codes.push(client.shorten(&url).await.code());
        }
        Self {
            node,
            codes,
            lost: 0,
        }
    }

    /// Follows each link twice, so that the cache knows that it is wanted again.
    pub(crate) async fn warm_up(&self) -> anyhow::Result<()> {
        self.follow().await?;
        self.follow().await
    }

    /// Follows each link once, and counts the look-ups in the database.
    pub(crate) async fn look(&mut self) -> anyhow::Result<()> {
        let before = Counters::settled([&*self.node]).await;
        self.follow().await?;
        let now = Counters::settled([&*self.node]).await;
        self.lost = self.lost.max(now.since(&before).look_ups());
        Ok(())
    }

    /// A note for the table.
    pub(crate) fn note(&self) -> String {
        let Self { lost, codes, .. } = self;
        let of = codes.len();
        if *lost > TOLERATED {
            format!("hot links lost: {lost} of {of}")
        } else {
            format!("hot links kept: of {of}, {lost} were looked up again at most")
        }
    }

    /// Whether every scan left them in the cache.
    pub(crate) fn are_kept(&self) -> bool {
        self.lost <= TOLERATED
    }

    async fn follow(&self) -> anyhow::Result<()> {
        let client = self.node.client();
        for code in &self.codes {
            let status = client.get(&format!("/{code}")).await.status;
            ensure!(
                status == StatusCode::FOUND,
                "a hot link was answered with {status}"
            );
        }
        Ok(())
    }
}
