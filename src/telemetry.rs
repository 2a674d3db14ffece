//! Logs and metrics.

mod logging;
mod metrics;

pub use logging::{chain, init_logging};
pub use metrics::{CacheMetrics, Gauges, HttpMetrics, Metrics, StoreMetrics};
