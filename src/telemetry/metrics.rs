//! Prometheus metrics; `docs/metrics.md` lists them.
//!
//! The registry belongs to the application, not to the process, so that two applications in one process
//! (as in the tests) do not count each other's requests.

use std::{sync::Arc, time::Instant};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// From 50 µs, a redirect from memory, to 5 s, beyond every timeout on the way.
const LATENCY_BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0,
];

/// All metrics of an application.
pub struct Metrics {
    registry: Registry,
    store_seconds: HistogramVec,
    store_errors: IntCounterVec,
}

impl Metrics {
    /// An empty registry with the build information in it.
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
        registry.register(Box::new(build_info))?;
        Ok(Self {
            store_seconds: register(
                &registry,
                HistogramVec::new(
                    histogram(
                        "shunt_store_duration_seconds",
                        "How long a store took to answer",
                    ),
                    &["store", "operation"],
                )?,
            )?,
            store_errors: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("shunt_store_errors_total", "Operations that a store failed"),
                    &["store", "operation", "kind"],
                )?,
            )?,
            registry,
        })
    }

    /// The metrics of one store, named as in the label `store`, for the operations named.
    pub fn store(&self, store: &'static str, operations: &[&'static str]) -> StoreMetrics {
        let operations = operations
            .iter()
            .map(|&operation| {
                let histogram = self.store_seconds.with_label_values(&[store, operation]);
                (operation, histogram)
            })
            .collect();
        StoreMetrics {
            store,
            operations,
            errors: self.store_errors.clone(),
        }
    }

    /// The metrics of the redirect cache.
    ///
    /// # Errors
    /// If they are asked for twice.
    pub fn cache(&self) -> Result<CacheMetrics, prometheus::Error> {
        let lookups = register(
            &self.registry,
            IntCounterVec::new(
                Opts::new(
                    "shunt_cache_lookups_total",
                    "Look-ups of codes, by what the cache knew",
                ),
                &["result"],
            )?,
        )?;
        Ok(CacheMetrics {
            hits: lookups.with_label_values(&["hit"]),
            negative_hits: lookups.with_label_values(&["negative_hit"]),
            misses: lookups.with_label_values(&["miss"]),
            stale: lookups.with_label_values(&["stale"]),
        })
    }

    /// The metrics of the public listener.
    ///
    /// # Errors
    /// If they are asked for twice.
    pub fn http(
        &self,
        routes: &[&'static str],
        onlookers: &[&'static str],
    ) -> Result<HttpMetrics, prometheus::Error> {
        let seconds = register(
            &self.registry,
            HistogramVec::new(
                histogram(
                    "shunt_http_request_duration_seconds",
                    "From the end of a request's head to the start of its answer",
                ),
                &["route"],
            )?,
        )?;
        let onlooked = register(
            &self.registry,
            IntCounterVec::new(
                Opts::new(
                    "shunt_onlookers_total",
                    "Requests of machines that only looked at a link whose visits are limited",
                ),
                &["kind"],
            )?,
        )?;
        for kind in onlookers {
            // There from the start, so that expressions can subtract it.
            onlooked.with_label_values(&[*kind]);
        }
        let ended = register(
            &self.registry,
            IntCounterVec::new(
                Opts::new(
                    "shunt_http_connections_ended_total",
                    "Connections that were ended because their clients were too slow or wanted too much",
                ),
                &["reason"],
            )?,
        )?;
        let connections = ConnectionMetrics {
            open: register(
                &self.registry,
                IntGauge::new("shunt_http_connections", "Open connections")?,
            )?,
            ended_slow: ended.with_label_values(&["slow_request"]),
            ended_unread: ended.with_label_values(&["unread_answers"]),
            ended_for_memory: ended.with_label_values(&["memory"]),
        };
        Ok(HttpMetrics {
            onlookers: onlooked,
            connections,
            requests: register(
                &self.registry,
                IntCounterVec::new(
                    Opts::new("shunt_http_requests_total", "Requests answered"),
                    &["route", "method", "status"],
                )?,
            )?,
            seconds: routes
                .iter()
                .map(|route| seconds.with_label_values(&[*route]))
                .collect(),
            decisions: register(
                &self.registry,
                IntCounterVec::new(
                    Opts::new(
                        "shunt_limiter_decisions_total",
                        "Decisions of the limiter: who decided what",
                    ),
                    &["policy", "outcome", "source"],
                )?,
            )?,
        })
    }

    /// What is looked up when the metrics are asked for.
    ///
    /// # Errors
    /// If they are asked for twice.
    pub fn gauges(&self) -> Result<Gauges, prometheus::Error> {
        let gauge = |name, help| register(&self.registry, Gauge::new(name, help)?);
        let counter = |name, help| register(&self.registry, IntCounter::new(name, help)?);
        Ok(Gauges {
            breaker_open: gauge(
                "shunt_limiter_breaker_open",
                "1 while Redis is away and requests do not wait for it",
            )?,
            breaker_opened: counter(
                "shunt_limiter_breaker_opened_total",
                "How often Redis went away",
            )?,
            wall_clock_ahead: gauge(
                "shunt_limiter_wall_clock_ahead_seconds",
                "This machine's wall clock less Redis's; decisions do not depend on it",
            )?,
            shielded_clients: gauge(
                "shunt_limiter_shielded_clients",
                "Clients that are refused without asking Redis each time",
            )?,
            redis_connections: gauge(
                "shunt_redis_connections",
                "Connections to Redis: one in common, and one for each thread that serves requests",
            )?,
            local_clients: gauge(
                "shunt_limiter_local_clients",
                "Clients counted in this process",
            )?,
            local_bytes: gauge(
                "shunt_limiter_local_bytes",
                "Memory for clients counted in this process, about",
            )?,
            local_evictions: counter(
                "shunt_limiter_local_evictions_total",
                "Clients forgotten for want of memory while they still counted",
            )?,
            log_lines_dropped: counter(
                "shunt_log_lines_dropped_total",
                "Log lines that nobody read in time, or that could not be written",
            )?,
            store_failing: register(
                &self.registry,
                IntGaugeVec::new(
                    Opts::new(
                        "shunt_store_failing",
                        "1 while links cannot be looked up (reads), or not be made or counted (writes)",
                    ),
                    &["store", "what"],
                )?,
            )?,
            cache_entries: register(
                &self.registry,
                IntGaugeVec::new(
                    Opts::new("shunt_cache_entries", "What the redirect cache remembers"),
                    &["kind"],
                )?,
            )?,
            cache_watching: gauge(
                "shunt_cache_watching",
                "1 while changes that others make to links are heard",
            )?,
            pool_connections: register(
                &self.registry,
                IntGaugeVec::new(
                    Opts::new("shunt_pool_connections", "Connections of a pool"),
                    &["store", "state"],
                )?,
            )?,
            pool_max: register(
                &self.registry,
                IntGaugeVec::new(
                    Opts::new(
                        "shunt_pool_max_connections",
                        "The most connections of a pool",
                    ),
                    &["store"],
                )?,
            )?,
        })
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

/// What is counted of connections to the public listener.
#[derive(Clone)]
pub struct ConnectionMetrics {
    /// Those that are open.
    pub open: IntGauge,
    /// Ended: a request took too long to arrive.
    pub ended_slow: IntCounter,
    /// Ended: answers were not taken in time.
    pub ended_unread: IntCounter,
    /// Ended: all connections together had too much waiting.
    pub ended_for_memory: IntCounter,
}

/// What the public listener counts.
pub struct HttpMetrics {
    /// Connections.
    pub connections: ConnectionMetrics,
    /// By route, method and status.
    pub requests: IntCounterVec,
    /// Per route, in the order that the routes were given in.
    pub seconds: Vec<Histogram>,
    /// By kind: machines that only looked at a link whose visits are limited.
    pub onlookers: IntCounterVec,
    /// By policy, outcome and source.
    pub decisions: IntCounterVec,
}

/// What the redirect cache counts.
#[derive(Clone)]
pub struct CacheMetrics {
    /// A link was remembered.
    pub hits: IntCounter,
    /// It was remembered that the code leads nowhere.
    pub negative_hits: IntCounter,
    /// The store was asked.
    pub misses: IntCounter,
    /// The store could not answer, and what was remembered had to do.
    pub stale: IntCounter,
}

/// What is measured of one store.
#[derive(Clone)]
pub struct StoreMetrics {
    store: &'static str,
    operations: Arc<[(&'static str, Histogram)]>,
    errors: IntCounterVec,
}

impl StoreMetrics {
    /// Runs an operation, one of those that the metrics were made for, and counts how long it took and, by its `kind`,
    /// how it failed. One that is given up is not counted.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn measure<T, E>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, E>>,
        kind: fn(&E) -> &'static str,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = answer.await;
        if let Err(error) = &result {
            self.errors
                .with_label_values(&[self.store, operation, kind(error)])
                .inc();
        }
        let seconds = started.elapsed().as_secs_f64();
        let operations = self.operations.iter();
        for (_, histogram) in operations.filter(|(name, _)| *name == operation) {
            histogram.observe(seconds);
        }
        result
    }
}

/// What is looked up when the metrics are asked for.
pub struct Gauges {
    /// 0 or 1.
    pub breaker_open: Gauge,
    /// Since the start.
    pub breaker_opened: IntCounter,
    /// Seconds.
    pub wall_clock_ahead: Gauge,
    /// Clients.
    pub shielded_clients: Gauge,
    /// Connections.
    pub redis_connections: Gauge,
    /// Clients.
    pub local_clients: Gauge,
    /// Bytes.
    pub local_bytes: Gauge,
    /// Since the start.
    pub local_evictions: IntCounter,
    /// Since the start of the process.
    pub log_lines_dropped: IntCounter,
    /// By store and what fails, `reads` or `writes`: 0 or 1.
    pub store_failing: IntGaugeVec,
    /// By kind: `link` or `miss`.
    pub cache_entries: IntGaugeVec,
    /// 0 or 1.
    pub cache_watching: Gauge,
    /// By store and state: `in_use` or `idle`.
    pub pool_connections: IntGaugeVec,
    /// By store.
    pub pool_max: IntGaugeVec,
}

impl Gauges {
    /// Brings a counter up to a total that is counted elsewhere.
    pub fn raise(counter: &IntCounter, total: u64) {
        counter.inc_by(total.saturating_sub(counter.get()));
    }
}
