//! Runs the programs that measure, and keeps their output.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::{
    settings::{Settings, WARM_UP},
    wrk::{self, Measured, Target},
};

/// The output of programs, by file name.
pub(crate) type Raw = BTreeMap<String, String>;

/// Runs the programs that measure, and keeps their output.
pub(crate) struct Runner<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) round: u32,
    raw: Raw,
    /// How many requests were sent so far. Each has a number of its own.
    requests: u64,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            round: 0,
            raw: Raw::new(),
            requests: 0,
        }
    }

    /// Runs wrk until the servers are as quick as they get.
    ///
    /// # Errors
    /// As [`wrk::run`].
    pub(crate) async fn warm_up(&mut self, target: &Target) -> anyhow::Result<Measured> {
        let measured = wrk::run(target, WARM_UP, self.requests).await?;
        self.requests += measured.requests;
        Ok(measured)
    }

    /// Runs wrk with the numbers after those of the last run, and keeps its output under `name`.
    ///
    /// # Errors
    /// As [`wrk::run`].
    pub(crate) async fn measure(
        &mut self,
        name: &str,
        target: &Target,
    ) -> anyhow::Result<Measured> {
        let measured = wrk::run(target, self.settings.seconds, self.requests).await?;
        self.requests += measured.requests;
        self.keep(name, &measured.raw);
        Ok(measured)
    }

    /// Runs [`warm_up`](Self::warm_up) on all targets at once.
    ///
    /// # Errors
    /// As [`wrk::run`].
    pub(crate) async fn warm_up_all(&mut self, targets: &[Target]) -> anyhow::Result<()> {
        self.run_all(targets, WARM_UP).await.map(drop)
    }

    /// Runs [`measure`](Self::measure) on all targets at once.
    ///
    /// # Errors
    /// As [`wrk::run`].
    pub(crate) async fn measure_all(
        &mut self,
        name: &str,
        targets: &[Target],
    ) -> anyhow::Result<Vec<Measured>> {
        let all = self.run_all(targets, self.settings.seconds).await?;
        for measured in &all {
            self.keep(name, &measured.raw);
        }
        Ok(all)
    }

    /// Each target begins at another client.
    async fn run_all(&mut self, targets: &[Target], seconds: u32) -> anyhow::Result<Vec<Measured>> {
        let runs = targets.iter().enumerate().map(|(number, target)| {
            let apart = target.clients * number as u64 / targets.len() as u64;
            wrk::run(target, seconds, self.requests + apart)
        });
        let all = try_join_all(runs).await?;
        self.requests += all.iter().map(|measured| measured.requests).sum::<u64>();
        Ok(all)
    }

    /// Keeps a text for `raw/`.
    pub(crate) fn keep(&mut self, name: &str, text: &str) {
        let place = format!("{:03}", self.raw.len() + 1);
        let file = match self.round {
            0 => format!("{place}-{name}.txt"),
            round => format!("{place}-round-{round}-{name}.txt"),
        };
        self.raw.insert(file, text.to_owned());
    }

    /// All output so far.
    pub(crate) fn raw(&self) -> &Raw {
        &self.raw
    }

    pub(crate) fn into_raw(self) -> Raw {
        self.raw
    }
}
