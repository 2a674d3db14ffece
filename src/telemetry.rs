//! Logs and metrics.

mod logging;
mod metrics;

pub use logging::{chain, init_logging};
pub use metrics::{CacheMetrics, ConnectionMetrics, Gauges, HttpMetrics, Metrics, StoreMetrics};
