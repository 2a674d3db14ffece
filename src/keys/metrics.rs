//! What is measured of keys: the store's operations, and what is remembered.

use std::sync::Arc;

use super::Keys;
use crate::{
    db::{Access, Operation},
    telemetry::{self, Metrics, Readings, set_flag},
};

/// What a store of keys is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// To look up a key by its hash.
    LookUp,
    /// To list keys, or to say whether there is any.
    List,
    /// To store a key.
    Create,
    /// To revoke a key.
    Revoke,
    /// To give a key another secret.
    Rotate,
}

impl telemetry::Operation for KeyOperation {
    const ALL: &'static [Self] = &[
        Self::LookUp,
        Self::List,
        Self::Create,
        Self::Revoke,
        Self::Rotate,
    ];

    fn name(self) -> &'static str {
        Operation::from(self).name
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl From<KeyOperation> for Operation {
    fn from(operation: KeyOperation) -> Self {
        let (access, name, impossible) = match operation {
            KeyOperation::LookUp => (Access::Read, "verify_key", "API keys cannot be verified"),
            KeyOperation::List => (Access::Read, "list_keys", "API keys cannot be listed"),
            KeyOperation::Create => (Access::Write, "create_key", "API keys cannot be made"),
            KeyOperation::Revoke => (Access::Write, "revoke_key", "API keys cannot be revoked"),
            KeyOperation::Rotate => (Access::Write, "rotate_key", "API keys cannot be rotated"),
        };
        Self {
            access,
            name,
            impossible,
        }
    }
}

/// Registers what `keys` knows of itself when the metrics are asked for.
///
/// # Errors
/// If it is registered already.
pub fn register_key_metrics(metrics: &Metrics, keys: Arc<Keys>) -> Result<(), prometheus::Error> {
    let mut readings = Readings::default();
    let remembered = readings.gauge("shunt_keys_remembered", "API keys that the node remembers")?;
    let watching = readings.gauge(
        "shunt_keys_watching",
        "1 while changes that others make to API keys are heard",
    )?;
    metrics.read_on_request(readings, move || {
        let usage = keys.usage();
        remembered.set(usage.keys as f64);
        set_flag(&watching, usage.watching);
    })
}
