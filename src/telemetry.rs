//! Logs and metrics.

mod log_queue;
mod logging;
mod metrics;

pub use log_queue::dropped_log_lines;
pub use logging::{Logs, chain, init_logging};
pub use metrics::{Metrics, Operation, Readings, StoreMetrics, raise, set_flag};
