//! Runs what measures, and keeps all that it prints.

use std::collections::BTreeMap;

use crate::{
    settings::{Settings, WARM_UP},
    wrk::{self, Measured, Target},
};

/// What programs printed, by the name of a file.
pub(crate) type Raw = BTreeMap<String, String>;

/// Runs what measures, and keeps all that it prints.
pub(crate) struct Runner<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) round: u32,
    raw: Raw,
    /// Requests so far: each has a number of its own.
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

    /// Runs wrk for as long as servers need to be as quick as they get.
    ///
    /// # Errors
    /// As [`wrk::run`].
    pub(crate) async fn warm_up(&mut self, target: &Target) -> anyhow::Result<Measured> {
        let measured = wrk::run(target, WARM_UP, self.requests).await?;
        self.requests += measured.requests;
        Ok(measured)
    }

    /// Runs wrk, going on where it ended the last time, and keeps what it printed under `name`.
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

    /// Keeps a text for `raw/`.
    pub(crate) fn keep(&mut self, name: &str, text: &str) {
        let place = format!("{:03}", self.raw.len() + 1);
        let file = match self.round {
            0 => format!("{place}-{name}.txt"),
            round => format!("{place}-round-{round}-{name}.txt"),
        };
        self.raw.insert(file, text.to_owned());
    }

    pub(crate) fn into_raw(self) -> Raw {
        self.raw
    }
}
