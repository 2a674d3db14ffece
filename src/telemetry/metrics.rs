//! Prometheus metrics: the registry, and what every part of the service needs to register its own.
//!
//! Each part has its metrics in a `metrics.rs` of its own; `docs/metrics.md` lists them all. The registry belongs to
//! the application, not to the process: two applications in one process, as in the tests, do not count each other's
//! requests.

use std::{marker::PhantomData, sync::Arc, time::Instant};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// From 50 µs, a redirect from memory, to 5 s, beyond every timeout on the way.
const LATENCY_BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0,
];

/// All metrics of an application.
///
/// The methods that make a metric fail if its name is impossible or registered already.
pub struct Metrics {
    registry: Registry,
    store_seconds: HistogramVec,
    store_errors: IntCounterVec,
}

impl Metrics {
    /// A registry with the build information and the metrics of the log in it.
    ///
    /// # Errors
    /// If a metric's name or labels are impossible.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = IntGaugeVec::new(
            Opts::new("shunt_build_info", "The running version; always 1"),
            &["version", "revision"],
        )?;
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), env!("BUILD_REVISION")])
            .set(1);
        register(&registry, build_info)?;
        let store_seconds = HistogramVec::new(
            histogram(
                "shunt_store_duration_seconds",
                "How long a store took to answer",
            ),
            &["store", "operation"],
        )?;
        let store_errors = IntCounterVec::new(
            Opts::new("shunt_store_errors_total", "Operations that a store failed"),
            &["store", "operation", "kind"],
        )?;
        let metrics = Self {
            store_seconds: register(&registry, store_seconds)?,
            store_errors: register(&registry, store_errors)?,
            registry,
        };
        let mut readings = Readings::default();
        let dropped = readings.counter(
            "shunt_log_lines_dropped_total",
            "Log lines that could not be written, or for which the reader was too slow",
        )?;
        metrics.read_on_request(readings, move || {
            raise(&dropped, super::dropped_log_lines());
        })?;
        Ok(metrics)
    }

    /// The metrics of one store, named as in the label `store`.
    pub fn store<O: Operation>(&self, store: &'static str) -> StoreMetrics<O> {
        let seconds = O::ALL
            .iter()
            .map(|operation| {
                self.store_seconds
                    .with_label_values(&[store, operation.name()])
            })
            .collect();
        StoreMetrics {
            store,
            seconds,
            errors: self.store_errors.clone(),
            operations: PhantomData,
        }
    }

    /// Counters that differ in their labels.
    ///
    /// # Errors
    /// See [`Metrics`].
    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        register(&self.registry, counters)
    }

    /// A gauge that the code moves up and down.
    ///
    /// # Errors
    /// See [`Metrics`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        register(&self.registry, IntGauge::new(name, help)?)
    }

    /// Histograms of seconds that differ in their labels.
    ///
    /// # Errors
    /// See [`Metrics`].
    pub fn latencies(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let histograms = HistogramVec::new(histogram(name, help), labels)?;
        register(&self.registry, histograms)
    }

    /// Has `read` set the `readings` each time that the metrics are asked for.
    ///
    /// # Errors
    /// See [`Metrics`].
    pub fn read_on_request(
        &self,
        readings: Readings,
        read: impl Fn() + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        self.registry
            .register(Box::new(ReadOnRequest { readings, read }))
    }

    /// All metrics in Prometheus's text format.
    ///
    /// # Errors
    /// If a metric cannot be written.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn histogram(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec())
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Metrics whose values are kept elsewhere; see [`Metrics::read_on_request`]. The methods that make one fail if its name
/// is impossible.
#[derive(Default)]
pub struct Readings(Vec<Box<dyn Collector>>);

impl Readings {
    /// A gauge of one value.
    ///
    /// # Errors
    /// See [`Readings`].
    pub fn gauge(&mut self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        Ok(self.with(Gauge::new(name, help)?))
    }

    /// Gauges of whole numbers that differ in their labels.
    ///
    /// # Errors
    /// See [`Readings`].
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        Ok(self.with(IntGaugeVec::new(Opts::new(name, help), labels)?))
    }

    /// A counter, which is read by [`raise`].
    ///
    /// # Errors
    /// See [`Readings`].
    pub fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        Ok(self.with(IntCounter::new(name, help)?))
    }

    fn with<C: Collector + Clone + 'static>(&mut self, metric: C) -> C {
        self.0.push(Box::new(metric.clone()));
        metric
    }
}

struct ReadOnRequest<F> {
    readings: Readings,
    read: F,
}

impl<F: Fn() + Send + Sync> Collector for ReadOnRequest<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.readings.0.iter().flat_map(|m| m.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.read)();
        self.readings.0.iter().flat_map(|m| m.collect()).collect()
    }
}

/// Brings a counter up to a total that is counted elsewhere.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Shows a yes or no as 1 or 0.
pub fn set_flag(gauge: &Gauge, flag: bool) {
    gauge.set(f64::from(u8::from(flag)));
}

/// The operations of a store: an enum, whose variants [`ALL`](Self::ALL) lists in their order.
pub trait Operation: Copy + 'static {
    /// Every operation, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// The value of the label `operation`.
    fn name(self) -> &'static str;

    /// The position in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

/// What is measured of one store, operation by operation.
pub struct StoreMetrics<O> {
    store: &'static str,
    /// In the order of the operations.
    seconds: Arc<[Histogram]>,
    errors: IntCounterVec,
    operations: PhantomData<fn(O)>,
}

impl<O> Clone for StoreMetrics<O> {
    fn clone(&self) -> Self {
        Self {
            store: self.store,
            seconds: self.seconds.clone(),
            errors: self.errors.clone(),
            operations: PhantomData,
        }
    }
}

impl<O: Operation> StoreMetrics<O> {
    /// Runs an operation. Counts how long it took and, by its `kind`, how it failed. An operation that is given up is
    /// not counted.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn measure<T, E>(
        &self,
        operation: O,
        answer: impl Future<Output = Result<T, E>>,
        kind: fn(&E) -> &'static str,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = answer.await;
        if let Err(error) = &result {
            self.errors
                .with_label_values(&[self.store, operation.name(), kind(error)])
                .inc();
        }
        let seconds = started.elapsed().as_secs_f64();
        if let Some(histogram) = self.seconds.get(operation.index()) {
            histogram.observe(seconds);
        }
        result
    }
}
