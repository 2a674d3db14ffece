//! A load, and the proof that the servers did what is measured. wrk itself knows only how many answers were errors.

use std::{ops::RangeInclusive, sync::Arc};

use anyhow::{Context, ensure};
use testkit::{Nginx, Node};

use crate::{
    conditions,
    counters::Counters,
    hot_links::HotLinks,
    runner::Runner,
    settings::CONNECTIONS,
    table::Table,
    wrk::{Measured, Target},
};

/// Requests to one or several nodes, and what the nodes must do for them.
pub(crate) struct Load {
    /// For messages and file names.
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) nodes: Vec<Arc<Node>>,
    /// The status of every answer.
    pub(crate) status: u16,
    /// The outcome of every decision, and the sources that may decide. No source means that there is no limit.
    pub(crate) outcome: &'static str,
    pub(crate) deciders: &'static [&'static str],
    /// The table in which every code must be looked up.
    pub(crate) looked_up: Option<Table>,
    /// The table in which every request makes a link.
    pub(crate) table: Option<Table>,
    pub(crate) hot_links: Option<HotLinks>,
    /// In front of the nodes, if any.
    pub(crate) nginx: Option<Nginx>,
}

impl Load {
    /// Redirects by one node that counts in its process.
    pub(crate) fn new(name: &str, node: &Arc<Node>, script: &'static str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            target: Target::new(script, node.address(), path),
            nodes: vec![node.clone()],
            status: 302,
            outcome: "admitted",
            deciders: &["local"],
            looked_up: None,
            table: None,
            hot_links: None,
            nginx: None,
        }
    }

    /// Lets Redis decide instead.
    pub(crate) fn with_redis(mut self) -> Self {
        self.deciders = &["redis"];
        self
    }

    /// Runs the load for a warm-up, and again for the result.
    ///
    /// # Errors
    /// If the nodes did anything but what is to be measured.
    pub(crate) async fn measure(&mut self, runner: &mut Runner<'_>) -> anyhow::Result<Measured> {
        let measured = self.measure_checked(runner).await;
        measured.with_context(|| format!("{}: {}", self.name, self.last_words()))
    }

    async fn measure_checked(&mut self, runner: &mut Runner<'_>) -> anyhow::Result<Measured> {
        if let Some(table) = &self.table {
            table.empty().await?;
        }
        if let Some(hot_links) = &self.hot_links {
            hot_links.warm_up().await?;
        }
        let looked_up_before = match &self.looked_up {
            Some(table) => table.look_ups().await,
            None => 0,
        };
        let nodes = || self.nodes.iter().map(|node| &**node);
        for node in nodes() {
            conditions::check(node.pid())?;
        }
        let warm_up = runner.warm_up(&self.target).await?;
        let before = Counters::settled(nodes()).await;
        let measured = runner.measure(&self.name, &self.target).await?;
        let done = Counters::settled(nodes()).await.since(&before);
        self.check(&measured, &done)?;
        if let Some(table) = &self.looked_up {
            let look_ups = looked_up_before + warm_up.requests + measured.requests;
            table.expect_look_ups(look_ups).await;
        }
        if let Some(table) = &self.table {
            table
                .expect(warm_up.requests + measured.requests, 2)
                .await?;
        }
        if let Some(hot_links) = &mut self.hot_links {
            hot_links.look().await?;
        }
        Ok(measured)
    }

    /// Compares what wrk saw with what the nodes counted.
    pub(crate) fn check(&self, measured: &Measured, done: &Counters) -> anyhow::Result<()> {
        let errors = if self.status < 400 {
            0
        } else {
            measured.requests
        };
        ensure!(
            measured.failed_answers == errors,
            "{} of {} answers were errors, and not {errors}",
            measured.failed_answers,
            measured.requests
        );
        let status = format!("status=\"{}\"", self.status);
        expect_all(measured, done, "shunt_http_requests_total", &[&status])?;
        self.check_decisions(measured, done)?;
        if self.looked_up.is_some() {
            let look_ups = done.look_ups();
            ensure!(
                expected(measured).contains(&look_ups),
                "{} requests caused {look_ups} look-ups in the database",
                measured.requests
            );
        }
        Ok(())
    }

    fn check_decisions(&self, measured: &Measured, done: &Counters) -> anyhow::Result<()> {
        let decisions = "shunt_limiter_decisions_total";
        let outcome = format!("outcome=\"{}\"", self.outcome);
        if !self.deciders.is_empty() {
            expect_all(measured, done, decisions, &[&outcome])?;
        }
        let by_deciders = self.deciders.iter().map(|source| {
            let source = format!("source=\"{source}\"");
            done.sum(decisions, &[&source])
        });
        ensure!(
            by_deciders.sum::<u64>() == done.sum(decisions, &[]),
            "not only {} decided: {}",
            self.deciders.join(" or "),
            done.shown(decisions)
        );
        Ok(())
    }

    /// The last log lines of the nodes, without the first one, which says where they listen.
    fn last_words(&self) -> String {
        let logs = self.nodes.iter().map(|node| node.log_lines(""));
        let lines: Vec<String> = logs.flat_map(|log| log.into_iter().skip(1)).collect();
        let last = lines.len().saturating_sub(5);
        lines[last..].join("\n")
    }
}

/// Requires that a metric counted every request under these labels.
fn expect_all(
    measured: &Measured,
    done: &Counters,
    metric: &str,
    labels: &[&str],
) -> anyhow::Result<()> {
    let (so, all) = (done.sum(metric, labels), done.sum(metric, &[]));
    ensure!(
        so == all && expected(measured).contains(&so),
        "{} requests should have been counted with {}; the nodes say {}",
        measured.requests,
        labels.join(" and "),
        done.shown(metric)
    );
    Ok(())
}

/// How many requests nodes may have counted. When wrk ends, each connection may have one more under way.
fn expected(measured: &Measured) -> RangeInclusive<u64> {
    measured.requests..=measured.requests + u64::from(CONNECTIONS)
}
