//! Logs and metrics.

mod log_queue;
mod logging;
mod metrics;

pub use log_queue::dropped_log_lines;
pub use logging::{Logs, chain, init_logging};
pub use metrics::{CacheMetrics, ConnectionMetrics, Gauges, HttpMetrics, Metrics, StoreMetrics};
