//! A row of the table: one thing, and what every round measured.

use serde::{Deserialize, Serialize};

/// Which numbers are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What a median must be.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    ShareAtLeast(f64),
    /// In the unit of the row.
    AtMost(f64),
}

/// The number of one round, and what it is compared with.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Round {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<f64>,
}

/// One thing, measured in every round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What is measured, in words.
    pub(crate) title: String,
    unit: String,
    pub(crate) better: Better,
    /// What the references measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) share_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wanted: Option<Wanted>,
    rounds: Vec<Round>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// Whether a note says that the promise is broken, although the numbers keep it.
    #[serde(default)]
    pub(crate) broken: bool,
}

impl Row {
    pub(crate) fn new(name: &str, title: &str, unit: &str, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            unit: unit.to_owned(),
            better,
            share_of: None,
            wanted: None,
            rounds: Vec::new(),
            notes: Vec::new(),
            broken: false,
        }
    }

    pub(crate) fn add(&mut self, value: f64, reference: Option<f64>) {
        self.rounds.push(Round { value, reference });
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.value).collect()
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.values())
    }

    /// The median of the shares of all rounds.
    pub(crate) fn share(&self) -> Option<f64> {
        let share = |round: &Round| Some(round.value / round.reference?);
        let shares: Vec<f64> = self.rounds.iter().filter_map(share).collect();
        (!shares.is_empty()).then(|| median(&shares))
    }

    fn is_kept(&self) -> Option<bool> {
        let kept = match self.wanted? {
            Wanted::ShareAtLeast(share) => self.share()? >= share,
            Wanted::AtMost(most) => self.median() <= most,
        };
        Some(kept && !self.broken)
    }

    /// The cells of the table: title, median, share, what is wanted, whether that is kept, and the value of each round.
    pub(crate) fn cells(&self) -> [String; 6] {
        let number = |value: f64| match &*self.unit {
            "req/s" | "bytes" => format!("{value:.0}"),
            "ms" => format!("{value:.2}"),
            _ => format!("{value:.1}"),
        };
        let share = self.share().zip(self.share_of.as_ref());
        let rounds: Vec<_> = self
            .rounds
            .iter()
            .map(|round| number(round.value))
            .collect();
        [
            self.title.clone(),
            format!("{} {}", number(self.median()), self.unit),
            share.map_or_else(String::new, |(share, of)| format!("{share:.2} of {of}")),
            match self.wanted {
                Some(Wanted::ShareAtLeast(share)) => format!("≥ {share:.2}"),
                Some(Wanted::AtMost(most)) => format!("≤ {most} {}", self.unit),
                None => String::new(),
            },
            match self.is_kept() {
                Some(true) => "yes".to_owned(),
                Some(false) => "**no**".to_owned(),
                None => String::new(),
            },
            rounds.join(" "),
        ]
    }
}

/// The number in the middle, or the mean of the two in the middle.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length => f64::midpoint(sorted[(length - 1) / 2], sorted[length / 2]),
    }
}
