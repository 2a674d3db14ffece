//! What nodes say they did, from their metrics.

use std::{collections::BTreeMap, time::Duration};

use testkit::Node;

/// Longer than a request takes under load.
const SETTLING_TIME: Duration = Duration::from_millis(100);

/// The metrics of several nodes, added up.
pub(crate) struct Counters(BTreeMap<String, f64>);

impl Counters {
    async fn of<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Self {
        let mut sums = BTreeMap::new();
        for node in nodes {
            let text = node.probe().get("/metrics").await.body;
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            for (series, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
                *sums.entry(series.to_owned()).or_default() += value.parse().unwrap_or(0.0);
            }
        }
        Self(sums)
    }

    /// The metrics once no request is under way. When wrk ends, it does not wait for its last requests.
    pub(crate) async fn settled<'n>(nodes: impl IntoIterator<Item = &'n Node> + Clone) -> Self {
        let mut last = Self::of(nodes.clone()).await;
        loop {
            tokio::time::sleep(SETTLING_TIME).await;
            let now = Self::of(nodes.clone()).await;
            if now.requests() == last.requests() && now.look_ups() == last.look_ups() {
                return now;
            }
            last = now;
        }
    }

    /// How many requests were answered.
    pub(crate) fn requests(&self) -> u64 {
        self.sum("shunt_http_requests_total", &[])
    }

    /// How many requests needed the database to look up a code. One query may serve many requests.
    pub(crate) fn look_ups(&self) -> u64 {
        self.sum("shunt_cache_lookups_total", &["result=\"miss\""])
    }

    /// The growth since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let grown = |(series, value): (&String, &f64)| {
            let before = earlier.0.get(series).copied().unwrap_or(0.0);
            (series.clone(), value - before)
        };
        Self(self.0.iter().map(grown).collect())
    }

    /// The sum over all label sets that contain `labels`, such as `status="302"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let is_meant = |series: &str| {
            series.split('{').next() == Some(name)
                && labels.iter().all(|label| series.contains(label))
        };
        let values = self.0.iter().filter(|(series, _)| is_meant(series));
        values.map(|(_, value)| value).sum::<f64>() as u64
    }

    /// The series of a metric that are not 0, as one line.
    pub(crate) fn shown(&self, name: &str) -> String {
        let series = self
            .0
            .iter()
            .filter(|(series, value)| series.split('{').next() == Some(name) && **value != 0.0);
        let shown: Vec<_> = series
            .map(|(series, value)| format!("{series} {value}"))
            .collect();
        shown.join(", ")
    }
}
