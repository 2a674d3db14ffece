//! What is measured of titles.

use prometheus::IntCounterVec;

use crate::telemetry::Metrics;

/// What became of a link that was made without a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its title is stored.
    Stored,
    /// It leads to no page with a title.
    Untitled,
    /// It leads where the node does not connect to.
    Refused,
    /// Its page could not be fetched.
    Failed,
    /// It has another title or another target by now, or is gone.
    Obsolete,
    /// Too many links were waiting.
    Dropped,
    /// The store could not be asked.
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Stored,
        Self::Untitled,
        Self::Refused,
        Self::Failed,
        Self::Obsolete,
        Self::Dropped,
        Self::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Untitled => "untitled",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Obsolete => "obsolete",
            Self::Dropped => "dropped",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Counts links that were made without a title.
#[derive(Clone)]
pub struct TitleMetrics {
    links: IntCounterVec,
}

impl TitleMetrics {
    /// Those of a node.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let links = metrics.counters(
            "shunt_titles_total",
            "Links that were made without a title, by what became of them",
            &["outcome"],
        )?;
        for outcome in Outcome::ALL {
            // Zero from the start, so that expressions can subtract it.
            links.with_label_values(&[outcome.name()]);
        }
        Ok(Self { links })
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.links.with_label_values(&[outcome.name()]).inc();
    }
}
