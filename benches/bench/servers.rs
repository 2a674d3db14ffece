//! The servers that are measured, and the servers that they need.

use std::{
    io::BufRead,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context, ensure};
use reqwest::StatusCode;
use testkit::{Client, Database, Node, NodeBuilder, Postgres, Process, Redis, eventually};

use crate::{
    conditions::{self, SCHEDULING},
    runner::Runner,
    settings::SESSIONS,
    wrk::Target,
};

/// Where links lead.
pub(crate) const LOCATION: &str = "https://example.com/a/page?of=some&length=usual";

/// More than any client sends: a refusal costs less than a redirect, and would flatter the result. The window is longer
/// than the benchmark, so that no key expires during another measurement.
const GENEROUS_QUOTA: &str = "1000/day";

/// A node with SQLite that counts in its process, and knows clients by `X-Forwarded-For`.
pub(crate) fn embedded(workers: usize) -> NodeBuilder {
    Node::builder()
        .set("http.workers", &workers.to_string())
        .set("http.scheduling", SCHEDULING)
        .set("http.trusted_proxies", "127.0.0.1/32")
        .set("limiter.quota", GENEROUS_QUOTA)
}

/// A Redis and a Postgres.
pub(crate) struct Servers {
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    /// The database of nodes that need none of their own.
    links: Database,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let postgres = Postgres::start_durable().await;
        Self {
            redis: Redis::start().await,
            links: postgres.database().await,
            postgres,
        }
    }

    /// A node as in production.
    pub(crate) fn node(&self, workers: usize) -> NodeBuilder {
        embedded(workers)
            .redis(&self.redis)
            .postgres(&self.links)
            .set("database.max_connections", &SESSIONS.to_string())
            // A node never counts by itself, so every answer proves that it asked Redis.
            .set("limiter.on_redis_failure", "deny")
            // A machine under load may pause for longer than the default of 100 ms.
            .set("limiter.redis.timeout", "1s")
    }

    /// Makes Redis forget all clients. No node may run: it would give back to Redis what it remembers.
    ///
    /// # Panics
    /// If that takes Redis half a minute.
    pub(crate) async fn forget_clients(&self) {
        // In the background: deleting millions of keys takes longer than a client of Redis waits.
        self.redis.command::<String>("FLUSHALL ASYNC").await;
        eventually("Redis has forgotten all clients", async || {
            let info: String = self.redis.command("INFO memory").await;
            info.contains("lazyfree_pending_objects:0").then_some(())
        })
        .await;
    }
}

/// The web server of `benches/bare.rs`.
pub(crate) struct Bare {
    process: Process,
    address: SocketAddr,
}

impl Bare {
    /// # Errors
    /// If it does not say where it listens.
    pub(crate) fn start(workers: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("bare");
        let mut command = Command::new(program);
        command.args([&workers.to_string(), LOCATION]);
        let (process, mut output) = Process::start(&command);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.with_context(|| format!("bare did not start: {line}"))?;
        Ok(Self {
            process,
            address: address.parse()?,
        })
    }

    /// Requests per second, with the requests that another target gets.
    ///
    /// # Errors
    /// If it answers with anything but its redirect.
    pub(crate) async fn measure(
        &self,
        runner: &mut Runner<'_>,
        name: &str,
        like: &Target,
    ) -> anyhow::Result<f64> {
        let mut target = like.clone();
        target.server = self.address;
        conditions::check(self.process.pid()).context("bare")?;
        self.expect_redirect().await?;
        runner.warm_up(&target).await?;
        let measured = runner.measure(name, &target).await?;
        let failed = measured.failed_answers;
        ensure!(failed == 0, "bare: {failed} answers were errors");
        self.expect_redirect().await?;
        Ok(measured.rate())
    }

    /// Requests for the redirect, from a million clients.
    pub(crate) fn target(&self) -> Target {
        Target::new("distinct-clients.lua", self.address, "/abcdef")
    }

    async fn expect_redirect(&self) -> anyhow::Result<()> {
        let client = Client::new(Ipv4Addr::LOCALHOST.into(), self.address);
        let answer = client.get("/abcdef").await;
        ensure!(
            answer.status == StatusCode::FOUND && answer.header("location") == Some(LOCATION),
            "bare answers {answer:?}"
        );
        Ok(())
    }
}
